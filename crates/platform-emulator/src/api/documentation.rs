//! A page with the operations of the API.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::contract;
use crate::page::{escaped, page};

pub(super) async fn show() -> Response {
    let document: Value = serde_json::from_str(contract::DOCUMENT).unwrap_or_default();
    let operations = document["paths"].as_object().into_iter().flatten().flat_map(|(path, operations)| {
        operations.as_object().into_iter().flatten().map(move |(method, operation)| (path, method, operation))
    });
    let rows: String = operations.map(|(path, method, operation)| row(path, method, operation)).collect();
    let version = escaped(document["info"]["version"].as_str().unwrap_or_default());
    let content = format!(
        "<p>Version {version}. <a href=\"openapi.json\">The OpenAPI document</a> has the details.</p>\
         <table><thead><tr><th>Operation</th><th>Statuses</th><th>Summary</th></tr></thead><tbody>{rows}</tbody></table>"
    );
    page(StatusCode::OK, "API", &content)
}

fn row(path: &str, method: &str, operation: &Value) -> String {
    let statuses: Vec<_> = operation["responses"].as_object().into_iter().flat_map(|all| all.keys().cloned()).collect();
    let summary = operation["summary"].as_str().or(operation["description"].as_str()).unwrap_or_default();
    format!(
        "<tr><td>{} /api{}</td><td>{}</td><td>{}</td></tr>",
        method.to_uppercase(),
        escaped(path),
        escaped(&statuses.join(", ")),
        escaped(summary)
    )
}
