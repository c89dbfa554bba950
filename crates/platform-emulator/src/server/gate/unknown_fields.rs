//! Responses of an emulated newer platform version, with fields and values that clients do not know.

use axum::body::{Body, to_bytes};
use axum::http::header;
use axum::response::Response;
use serde_json::{Value, json};

/// The maximum size of an API response, in bytes.
const MAX_RESPONSE_BYTES: usize = 256 * 1024 * 1024;
/// The fields whose content belongs to users and applications. They are not changed.
const UNCHANGED_FIELDS: [&str; 3] = ["custom_metadata", "metadata", "metadata_schema"];
/// The enumeration fields that get unknown values. Clients do not need them for their control flow.
const CHANGED_ENUMERATIONS: [&str; 5] = ["termination_reason", "output", "visibility", "scope", "relation"];

/// Adds a field to every object of a JSON response, and a suffix to enumeration values. Does not change other
/// responses.
pub(super) async fn add(response: Response) -> Response {
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    if !is_json {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, MAX_RESPONSE_BYTES).await.unwrap_or_default();
    let Ok(mut value) = serde_json::from_slice(&bytes) else { return Response::from_parts(parts, Body::from(bytes)) };
    add_unknown_values(&mut value);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(value.to_string()))
}

fn add_unknown_values(value: &mut Value) {
    match value {
        Value::Array(entries) => entries.iter_mut().for_each(add_unknown_values),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match field {
                    Value::String(text) if CHANGED_ENUMERATIONS.contains(&name.as_str()) => {
                        text.push_str("_OF_TOMORROW");
                    }
                    field if !UNCHANGED_FIELDS.contains(&name.as_str()) => add_unknown_values(field),
                    _ => {}
                }
            }
            fields.insert("field_of_tomorrow".to_owned(), json!({ "unknown": [1, null] }));
        }
        _ => {}
    }
}
