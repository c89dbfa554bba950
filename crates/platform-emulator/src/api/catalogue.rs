//! Applications, their versions and their documents.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use regex::Regex;
use serde_json::{Value, json};

use super::Caller;
use super::items::redirect;
use super::problem::Problem;
use super::request::{Key, Parameters, Place};
use crate::application::{self, Application, Version};
use crate::documents::{self, Document};
use crate::platform::Platform;
use crate::storage::presign;

/// The lifetime of the signed URL of a document.
const URL_LIFETIME: Duration = Duration::from_secs(5 * 60);
const SORT_FIELDS: [&str; 4] = ["application_id", "name", "description", "regulatory_classes"];
const REGULATORY_CLASSES: [&str; 1] = ["RUO"];
const NO_VERSION: Problem = Problem::NotFound("Application version not found");
const NO_DOCUMENT: Problem = Problem::NotFound("Document not found");

fn summary(version: &Version) -> Value {
    json!({ "number": version.number, "released_at": version.released_at })
}

pub(super) async fn list(_caller: Caller, parameters: Parameters) -> Result<Json<Vec<Value>>, Problem> {
    let (page, sort) = (parameters.page_with("page-size")?, parameters.sort(&SORT_FIELDS)?);
    let mut applications: Vec<_> = application::all().iter().collect();
    sort.apply(&mut applications, |application, field| match field {
        "application_id" => Key::text(application.id),
        "name" => Key::text(application.name),
        "description" => Key::text(application.description),
        _ => Key::text(&REGULATORY_CLASSES.join(",")),
    });
    let describe = |application: &Application| {
        json!({
            "application_id": application.id,
            "name": application.name,
            "regulatory_classes": REGULATORY_CLASSES,
            "description": application.description,
            "latest_version": summary(application.latest()),
        })
    };
    Ok(Json(page.of(applications).into_iter().map(describe).collect()))
}

pub(super) async fn get(_caller: Caller, Place(id): Place<String>) -> Result<Json<Value>, Problem> {
    let application = application::find(&id).ok_or(Problem::NotFound("Application not found"))?;
    Ok(Json(json!({
        "application_id": application.id,
        "name": application.name,
        "regulatory_classes": REGULATORY_CLASSES,
        "description": application.description,
        "versions": application.versions.iter().map(summary).collect::<Vec<_>>(),
    })))
}

/// The version grammar of <https://semver.org>. Numbers may have any length.
static SEMANTIC_VERSION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let (number, identifier) = ("(?:0|[1-9][0-9]*)", "(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)");
    let pre_release = format!(r"(?:-{identifier}(?:\.{identifier})*)?");
    let build = r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?";
    Regex::new(&format!(r"^{number}\.{number}\.{number}{pre_release}{build}$")).ok()
});

fn find(id: &str, number: &str) -> Result<(&'static Application, &'static Version), Problem> {
    let application = application::find(id).ok_or(NO_VERSION)?;
    Ok((application, application.version(number).ok_or(NO_VERSION)?))
}

pub(super) async fn version(
    _caller: Caller,
    Place((id, number)): Place<(String, String)>,
) -> Result<Json<Value>, Problem> {
    if !SEMANTIC_VERSION.as_ref().is_some_and(|form| form.is_match(&number)) {
        return Err(Problem::invalid(json!(["path", "version"]), "Input should be a semantic version"));
    }
    let (application, version) = find(&id, &number)?;
    Ok(Json(application.describe(version)))
}

fn describe(document: &Document) -> Value {
    json!({
        "id": document.id,
        "name": document.name,
        "mime_type": document.mime_type,
        "visibility": "public",
        "created_at": document.released_at,
        "updated_at": document.released_at,
    })
}

pub(super) async fn documents(
    _caller: Caller,
    Place((id, number)): Place<(String, String)>,
) -> Result<Json<Vec<Value>>, Problem> {
    let (application, version) = find(&id, &number)?;
    Ok(Json(documents::of(application, version).iter().map(describe).collect()))
}

fn find_document(id: &str, number: &str, name: &str) -> Result<Document, Problem> {
    let (application, version) = find(id, number)?;
    documents::of(application, version).into_iter().find(|document| document.name == name).ok_or(NO_DOCUMENT)
}

pub(super) async fn document(
    _caller: Caller,
    Place((id, number, name)): Place<(String, String, String)>,
) -> Result<Json<Value>, Problem> {
    find_document(&id, &number, &name).map(|document| Json(describe(&document)))
}

/// Redirects to a document for download.
pub(super) async fn document_file(
    state: State<Arc<Platform>>,
    _caller: Caller,
    place: Place<(String, String, String)>,
) -> Result<Response, Problem> {
    document_url(&state, place, true).await
}

/// Redirects to a document for display.
pub(super) async fn document_content(
    state: State<Arc<Platform>>,
    _caller: Caller,
    place: Place<(String, String, String)>,
) -> Result<Response, Problem> {
    document_url(&state, place, false).await
}

async fn document_url(
    platform: &Arc<Platform>,
    Place((id, number, name)): Place<(String, String, String)>,
    attached: bool,
) -> Result<Response, Problem> {
    let document = find_document(&id, &number, &name)?;
    let key = document.store(platform).await.map_err(|error| Problem::Internal(error.to_string()))?;
    let disposition = [("response-content-disposition", "attachment")];
    let parameters = if attached { &disposition[..] } else { &[] };
    Ok(redirect(presign(platform, &key, URL_LIFETIME, parameters).as_str()))
}
