//! The OpenAPI document, and the validation of request bodies against it.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::http::{Method, header};
use axum::response::IntoResponse;
use jsonschema::Validator;
use serde_json::{Value, json};

use super::problem::Problem;

pub(super) const DOCUMENT: &str = include_str!("../../platform.json");
/// The maximum number of problems that are reported for a request body.
const MAX_PROBLEMS: usize = 100;

/// The validators of request bodies, by `METHOD /path`.
static BODY_VALIDATORS: LazyLock<HashMap<String, Validator>> = LazyLock::new(|| {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
    let operations = document["paths"].as_object().into_iter().flatten().flat_map(|(path, operations)| {
        operations.as_object().into_iter().flatten().map(move |(method, operation)| (path, method, operation))
    });
    let validators = operations.filter_map(|(path, method, operation)| {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let body_schema = json!({ "allOf": [schema], "components": document["components"] });
        let validator = jsonschema::options().should_validate_formats(true).build(&body_schema).ok()?;
        schema.is_object().then(|| (format!("{} {path}", method.to_uppercase()), validator))
    });
    validators.collect()
});

/// Responds with the OpenAPI document.
pub(super) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

/// Validates a request body against the OpenAPI document. The error lists the violations with their locations.
pub(super) fn check_body(method: &Method, route: &str, body: &Value) -> Result<(), Problem> {
    let operation = format!("{method} {}", route.strip_prefix("/api").unwrap_or(route));
    let validator = BODY_VALIDATORS
        .get(&operation)
        .ok_or_else(|| Problem::Internal(format!("the document has no schema for the body of {operation}")))?;
    let problems: Vec<_> = validator
        .iter_errors(body)
        .take(MAX_PROBLEMS)
        .map(|error| {
            let steps = error.instance_path().iter().map(|step| match step {
                jsonschema::paths::LocationSegment::Index(index) => json!(index),
                jsonschema::paths::LocationSegment::Property(name) => json!(name),
            });
            // The message does not contain the value, because it may be large or secret.
            ([json!("body")].into_iter().chain(steps).collect(), error.masked().to_string())
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(Problem::Invalid(problems)) }
}
