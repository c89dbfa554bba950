//! Applications and their versions.

use axum::Json;
use axum::extract::Path;
use serde_json::{Value, json};

use super::Caller;
use super::page::Page;
use super::problem::Problem;
use crate::application;

pub(super) async fn list(_caller: Caller, page: Page) -> Result<Json<Vec<Value>>, Problem> {
    let tissue = json!({
        "application_id": application::ID,
        "name": "Tissue detection",
        "regulatory_classes": ["RUO"],
        "description": "Finds the tissue on a slide: a heat map, its outlines and its areas.",
        "latest_version": { "number": application::VERSION, "released_at": application::RELEASED_AT },
    });
    page.of(&[tissue]).map(Json)
}

pub(super) async fn version(
    _caller: Caller,
    Path((id, version)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    if (id.as_str(), version.as_str()) != (application::ID, application::VERSION) {
        return Err(Problem::NotFound("Application version not found"));
    }
    Ok(Json(application::description()))
}
