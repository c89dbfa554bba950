//! Masking of secrets in responses.

use auth_core::{is_secret_name, redacted_text};
use serde_json::Value;

/// The fields that the platform's OpenAPI document declares as secret (`x-sdk-secret`).
const SECRET_FIELDS: [&str; 4] =
    ["aignostics_bucket_hmac_secret_access_key", "aignostics_logfire_token", "aignostics_sentry_dsn", "share_token"];
/// The headers with secrets or authentication parameters, in addition to those that [`is_secret_name`] recognizes.
const SECRET_HEADERS: [&str; 4] = ["authentication-info", "proxy-authenticate", "set-cookie2", "www-authenticate"];

/// Returns JSON with secret fields and secrets in texts masked.
pub(crate) fn json(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| {
                let is_secret = SECRET_FIELDS.contains(&name.as_str()) || is_secret_name(&name);
                (redacted_text(&name), if is_secret { mask_all(value) } else { json(value) })
            });
            Value::Object(members.collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(json).collect()),
        Value::String(text) => Value::String(redacted_text(&text)),
        other => other,
    }
}

/// Masks all values in a secret field.
fn mask_all(value: Value) -> Value {
    match value {
        Value::String(text) if !text.is_empty() => Value::String(format!("***MASKED({})***", text.chars().count())),
        Value::Number(_) => Value::String("***MASKED***".to_owned()),
        Value::Array(values) => Value::Array(values.into_iter().map(mask_all).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (name, mask_all(value))).collect())
        }
        other => other,
    }
}

/// Returns the value of a header with secrets masked, such as cookies and the queries of URLs.
pub(crate) fn header(name: &str, value: &str) -> String {
    let name = name.to_ascii_lowercase();
    if SECRET_HEADERS.contains(&name.as_str()) || is_secret_name(&name) {
        return "***".to_owned();
    }
    // `redacted_text` does not recognize a relative URL such as `?token=…`.
    match value.split_once('?') {
        Some((path, _)) if matches!(name.as_str(), "location" | "content-location") => {
            format!("{}?***", redacted_text(path))
        }
        _ => redacted_text(value),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json as value;

    use super::*;

    #[test]
    fn secrets_and_signatures_in_json_are_masked() {
        let response = value!({ "items": [{
            "download_url": "https://s.test/a?X-Sig=canary", "share_token": "canary", "n": 1,
            "message": "see <https://u:canary@s.test/a?canary> with token=canary", "access_token": ["canary", 1, null],
            "password": { "value": "canary" }, "refresh_token": "", "relative": "/a?sig=canary", "refreshToken": "canary",
        }] });
        assert_eq!(
            json(response),
            value!({ "items": [{
                "download_url": "https://s.test/a?***", "share_token": "***MASKED(6)***", "n": 1,
                "message": "see <https://s.test/a?***> with token=***",
                "access_token": ["***MASKED(6)***", "***MASKED***", null],
                "password": { "value": "***MASKED(6)***" }, "refresh_token": "", "relative": "/a?***",
                "refreshToken": "***MASKED(6)***",
            }] })
        );
    }

    #[test]
    fn secrets_in_headers_are_masked() {
        for (name, text, expected) in [
            ("Location", "https://u:canary@s.test/a?canary", "https://s.test/a?***"),
            ("Location", "https://s.test/a#canary", "https://s.test/a"),
            ("location", "/a?canary", "/a?***"),
            ("location", "?canary", "?***"),
            ("Link", "<https://s.test/a?page=2&sig=canary>; rel=\"next\"", "<https://s.test/a?***>; rel=\"next\""),
            ("link", "</a?canary>; rel=next", "</a?***>; rel=next"),
            ("Refresh", "0; url=https://s.test/?canary", "0; url=https://s.test/?***"),
            ("Set-Cookie", "canary", "***"),
            ("X-Csrf-Token", "canary", "***"),
            ("X-Api-Key", "canary", "***"),
            ("Content-Type", "application/json; charset=utf-8", "application/json; charset=utf-8"),
        ] {
            assert_eq!(header(name, text), expected, "{name}");
        }
    }

    #[test]
    fn every_secret_field_of_the_document_is_masked() {
        let document: Value = serde_json::from_str(include_str!("../../../../openapi/platform.json")).unwrap();
        let mut declared = BTreeSet::new();
        for schema in document["components"]["schemas"].as_object().unwrap().values() {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let secret_properties = properties.filter(|(_, property)| property["x-sdk-secret"] == true);
            // URLs are masked by the removal of their query, so their fields are not in the list.
            declared.extend(
                secret_properties.filter(|(_, property)| property["format"] != "uri").map(|(name, _)| name.as_str()),
            );
        }
        assert_eq!(declared, BTreeSet::from(SECRET_FIELDS));
    }
}
