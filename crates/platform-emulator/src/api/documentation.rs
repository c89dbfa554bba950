//! A page with the operations of the API.

use serde_json::Value;

use super::contract;
use crate::page::Page;
use crate::page::format::escaped;

pub(super) async fn show() -> Page {
    let document: Value = serde_json::from_str(contract::DOCUMENT).unwrap_or_default();
    let operations = document["paths"].as_object().into_iter().flatten().flat_map(|(path, operations)| {
        operations.as_object().into_iter().flatten().map(move |(method, operation)| (path, method, operation))
    });
    let rows: String = operations.map(|(path, method, operation)| operation_row(path, method, operation)).collect();
    let version = escaped(document["info"]["version"].as_str().unwrap_or_default());
    let content = format!(
        r#"<h1>API</h1><p>Version {version}. <a href="openapi.json">The OpenAPI document</a> has the details.</p>
<table class="rows operations"><thead><tr><th scope="col">Operation</th><th scope="col">Purpose</th><th scope="col">Statuses</th></tr></thead><tbody>{rows}</tbody></table>"#
    );
    Page::new("/", "API", content).with_full_width()
}

fn operation_row(path: &str, method: &str, operation: &Value) -> String {
    let statuses: Vec<_> =
        operation["responses"].as_object().into_iter().flat_map(|responses| responses.keys().cloned()).collect();
    let summary = operation["summary"].as_str().or(operation["description"].as_str()).unwrap_or_default();
    format!(
        r#"<tr><td><code>{} /api{}</code></td><td>{}</td><td class="muted">{}</td></tr>"#,
        method.to_uppercase(),
        escaped(path),
        escaped(summary),
        escaped(&statuses.join(", ")),
    )
}
