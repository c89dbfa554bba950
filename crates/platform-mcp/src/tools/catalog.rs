//! Applications, versions and documents.

use futures_util::TryStreamExt;
use platform_resources::models::{ApplicationId, VersionNumber};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Call, NoArguments};
use crate::error::ToolError;
use crate::resources;
use crate::shared::Shared;

#[derive(Serialize, JsonSchema)]
pub(crate) struct Applications {
    applications: Vec<ApplicationEntry>,
}

#[derive(Serialize, JsonSchema)]
struct ApplicationEntry {
    application_id: String,
    name: String,
    description: String,
    regulatory_classes: Vec<String>,
    latest_version: Option<String>,
}

/// An application, and optionally one of its versions.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionsArguments {
    /// Id of the application, from `list_applications`
    application_id: String,
    /// Version whose inputs and outputs are included; the latest one by default
    version_number: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct VersionList {
    application_id: String,
    versions: Vec<VersionEntry>,
    /// The selected version, with its inputs and outputs and their JSON Schemas.
    selected: Option<Value>,
}

#[derive(Serialize, JsonSchema)]
struct VersionEntry {
    version_number: String,
    released_at: String,
}

/// A version of an application.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionArguments {
    /// Id of the application, from `list_applications`
    application_id: String,
    /// Version; the latest one by default
    version_number: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct DocumentList {
    application_id: String,
    version_number: String,
    documents: Vec<Document>,
}

#[derive(Serialize, JsonSchema)]
struct Document {
    name: String,
    mime_type: String,
    updated_at: String,
    /// The URI with which the document is read as a resource.
    resource: String,
}

pub(super) async fn applications(shared: &Shared, _: NoArguments, _: &Call) -> Result<Applications, ToolError> {
    let list: Vec<_> = shared.client.applications().list().try_collect().await?;
    let applications = list.into_iter().map(|application| ApplicationEntry {
        application_id: application.application_id.to_string(),
        name: application.name,
        description: application.description,
        regulatory_classes: application.regulatory_classes,
        latest_version: application.latest_version.map(|version| version.number.to_string()),
    });
    Ok(Applications { applications: applications.collect() })
}

pub(super) async fn versions(
    shared: &Shared,
    arguments: VersionsArguments,
    _: &Call,
) -> Result<VersionList, ToolError> {
    let id = ApplicationId::from(arguments.application_id.as_str());
    let versions = shared.client.applications().versions(&id).await?;
    let requested_number = arguments.version_number.map(|number| VersionNumber::from(number.as_str()));
    let number = requested_number.or_else(|| versions.first().map(|version| version.number.clone()));
    let selected = match number {
        Some(number) => Some(serde_json::to_value(shared.client.applications().version(&id, &number).await?)?),
        None => None,
    };
    let versions = versions.into_iter().map(|version| VersionEntry {
        version_number: version.number.to_string(),
        released_at: version.released_at.to_string(),
    });
    Ok(VersionList { application_id: arguments.application_id, versions: versions.collect(), selected })
}

pub(super) async fn documents(
    shared: &Shared,
    arguments: VersionArguments,
    _: &Call,
) -> Result<DocumentList, ToolError> {
    let id = ApplicationId::from(arguments.application_id.as_str());
    let number = match arguments.version_number {
        Some(number) => VersionNumber::from(number.as_str()),
        None => shared.client.applications().latest_version(&id).await?,
    };
    let list = shared.client.applications().documents(&id, &number).list().await?;
    let documents = list.into_iter().map(|document| Document {
        resource: resources::document_uri(id.as_str(), number.as_str(), &document.name),
        name: document.name,
        mime_type: document.mime_type,
        updated_at: document.updated_at.to_string(),
    });
    let (application_id, version_number) = (id.to_string(), number.to_string());
    Ok(DocumentList { application_id, version_number, documents: documents.collect() })
}
