//! Applications, their versions and their documents.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::Caller;
use super::items::redirect;
use super::problem::Problem;
use super::request::{Parameters, PathParameters, SortKey};
use crate::application::Application;
use crate::application::documents::{self, Document};
use crate::config::VersionConfig;
use crate::config::is_semantic_version;
use crate::platform::Platform;
use crate::storage::presign;

/// The lifetime of the signed URL of a document.
const URL_LIFETIME: Duration = Duration::from_secs(5 * 60);
const SORT_FIELDS: [&str; 4] = ["application_id", "name", "description", "regulatory_classes"];
const REGULATORY_CLASSES: [&str; 1] = ["RUO"];
const NO_VERSION: Problem = Problem::NotFound("Application version not found");
const NO_DOCUMENT: Problem = Problem::NotFound("Document not found");

fn version_summary(version: &VersionConfig) -> Value {
    json!({ "number": version.number, "released_at": version.released_at })
}

pub(super) async fn list(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    parameters: Parameters,
) -> Result<Json<Vec<Value>>, Problem> {
    let (_, organization) = caller.account(&platform)?;
    let page = parameters.page_with_size_parameter("page-size")?;
    let sort = parameters.sort(&SORT_FIELDS)?;
    let visible = |application: &&Application| application.is_visible_to(&organization.id);
    let mut applications: Vec<_> = platform.applications.all().iter().filter(visible).collect();
    sort.apply(&mut applications, |application, field| match field {
        "application_id" => SortKey::text(&application.id),
        "name" => SortKey::text(&application.name),
        "description" => SortKey::text(&application.description),
        _ => SortKey::text(&REGULATORY_CLASSES.join(",")),
    });
    let describe_application = |application: &Application| {
        json!({
            "application_id": application.id,
            "name": application.name,
            "regulatory_classes": REGULATORY_CLASSES,
            "description": application.description,
            "latest_version": version_summary(application.latest()),
        })
    };
    Ok(Json(page.entries_of(applications).into_iter().map(describe_application).collect()))
}

pub(super) async fn get(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters(id): PathParameters<String>,
) -> Result<Json<Value>, Problem> {
    let (_, organization) = caller.account(&platform)?;
    let application = platform.applications.find(&id).ok_or(Problem::NotFound("Application not found"))?;
    if !application.is_visible_to(&organization.id) {
        return Err(Problem::Forbidden);
    }
    Ok(Json(json!({
        "application_id": application.id,
        "name": application.name,
        "regulatory_classes": REGULATORY_CLASSES,
        "description": application.description,
        "versions": application.versions.iter().map(version_summary).collect::<Vec<_>>(),
    })))
}

fn find_version<'a>(
    platform: &'a Platform,
    id: &str,
    number: &str,
) -> Result<(&'a Application, &'a VersionConfig), Problem> {
    let application = platform.applications.find(id).ok_or(NO_VERSION)?;
    Ok((application, application.version(number).ok_or(NO_VERSION)?))
}

/// Returns a version, like [`find_version`]. If the application is not visible to the caller's organization, returns
/// the error for an unknown version.
fn find_visible<'a>(
    platform: &'a Platform,
    caller: &Caller,
    id: &str,
    number: &str,
) -> Result<(&'a Application, &'a VersionConfig), Problem> {
    let (_, organization) = caller.account(platform)?;
    let (application, version) = find_version(platform, id, number)?;
    if application.is_visible_to(&organization.id) { Ok((application, version)) } else { Err(NO_VERSION) }
}

pub(super) async fn version(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters((id, number)): PathParameters<(String, String)>,
) -> Result<Json<Value>, Problem> {
    if !is_semantic_version(&number) {
        return Err(Problem::invalid(json!(["path", "version"]), "Input should be a semantic version"));
    }
    let (application, version) = find_version(&platform, &id, &number)?;
    let (_, organization) = caller.account(&platform)?;
    if application.is_visible_to(&organization.id) {
        Ok(Json(application.describe(version)))
    } else {
        Err(Problem::Forbidden)
    }
}

fn describe_document(document: &Document) -> Value {
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
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters((id, number)): PathParameters<(String, String)>,
) -> Result<Json<Vec<Value>>, Problem> {
    let (application, version) = find_visible(&platform, &caller, &id, &number)?;
    Ok(Json(documents::of_version(application, version).iter().map(describe_document).collect()))
}

fn find_document(
    platform: &Platform,
    caller: &Caller,
    id: &str,
    number: &str,
    name: &str,
) -> Result<Document, Problem> {
    let (application, version) = find_visible(platform, caller, id, number)?;
    documents::of_version(application, version).into_iter().find(|document| document.name == name).ok_or(NO_DOCUMENT)
}

pub(super) async fn document(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters((id, number, name)): PathParameters<(String, String, String)>,
) -> Result<Json<Value>, Problem> {
    find_document(&platform, &caller, &id, &number, &name).map(|document| Json(describe_document(&document)))
}

/// Redirects to a document for download.
pub(super) async fn document_file(
    state: State<Arc<Platform>>,
    caller: Caller,
    parameters: PathParameters<(String, String, String)>,
) -> Result<Response, Problem> {
    redirect_to_document(&state, &caller, parameters, true).await
}

/// Redirects to a document for display.
pub(super) async fn document_content(
    state: State<Arc<Platform>>,
    caller: Caller,
    parameters: PathParameters<(String, String, String)>,
) -> Result<Response, Problem> {
    redirect_to_document(&state, &caller, parameters, false).await
}

async fn redirect_to_document(
    platform: &Arc<Platform>,
    caller: &Caller,
    PathParameters((id, number, name)): PathParameters<(String, String, String)>,
    as_attachment: bool,
) -> Result<Response, Problem> {
    let document = find_document(platform, caller, &id, &number, &name)?;
    let key = document.store(platform).await.map_err(|error| Problem::Internal(error.to_string()))?;
    let disposition = [("response-content-disposition", "attachment")];
    let parameters = if as_attachment { &disposition[..] } else { &[] };
    Ok(redirect(presign(platform, &key, URL_LIFETIME, parameters).as_str()))
}
