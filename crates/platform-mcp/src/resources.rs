//! The resources: documents of applications, and manifests of results folders.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use platform_resources::models::{ApplicationId, VersionNumber};
use rmcp::ErrorData;
use rmcp::model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use url::Url;

use crate::error::ToolError;
use crate::guard;
use crate::shared::Shared;

const SCHEME: &str = "aignostics";
/// The maximum size of a document or manifest that is returned, in bytes.
const MAX_BYTES: usize = 4 * 1024 * 1024;

pub(crate) fn document_uri(application: &str, version: &str, name: &str) -> String {
    let mut uri = Url::parse("aignostics://documents").unwrap_or_else(|_| unreachable_url());
    if let Ok(mut segments) = uri.path_segments_mut() {
        segments.extend([application, version, name]);
    }
    uri.into()
}

fn manifest_uri(folder: &str) -> String {
    let mut uri = Url::parse("aignostics://manifests").unwrap_or_else(|_| unreachable_url());
    if let Ok(mut segments) = uri.path_segments_mut() {
        segments.push(folder);
    }
    uri.into()
}

#[expect(clippy::unreachable, reason = "the text is a constant and a URL")]
fn unreachable_url() -> Url {
    unreachable!("a constant URL")
}

/// Returns the manifests in the folders of the server. The tool `list_documents` lists the documents.
pub(crate) fn list(shared: &Shared) -> Vec<Resource> {
    let manifests = shared.folders.iter().filter(|folder| folder.join("manifest.jsonl").is_file());
    manifests
        .map(|folder| {
            let name = folder.display().to_string();
            Resource::new(manifest_uri(&name), format!("Manifest of {name}"))
                .with_description("The files of a results folder, one JSON object for each")
                .with_mime_type("application/jsonl")
        })
        .collect()
}

pub(crate) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new("aignostics://documents/{application_id}/{version_number}/{name}", "document")
            .with_title("Document of an application")
            .with_description("A document of a version, as listed by list_documents"),
        ResourceTemplate::new("aignostics://manifests/{folder}", "manifest")
            .with_title("Manifest of a results folder")
            .with_description("The files of a results folder, one JSON object for each")
            .with_mime_type("application/jsonl"),
    ]
}

pub(crate) async fn read(shared: &Shared, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let not_found = || ErrorData::resource_not_found(format!("unknown resource `{uri}`"), None);
    let parsed = Url::parse(uri).ok().filter(|parsed| parsed.scheme() == SCHEME).ok_or_else(not_found)?;
    let segments: Option<Vec<_>> = parsed.path_segments().map(|segments| segments.map(percent_decode).collect());
    let segments = segments.unwrap_or_default();
    let segments: Vec<_> = segments.iter().map(String::as_str).collect();
    let contents = match (parsed.host_str(), &segments[..]) {
        (Some("documents"), [application, version, name]) => {
            read_document(shared, uri, application, version, name).await
        }
        (Some("manifests"), [folder]) => read_manifest(shared, uri, folder),
        _ => return Err(not_found()),
    };
    let read_error = |error: ToolError| ErrorData::resource_not_found(guard::redact_text(&error.to_string()), None);
    Ok(ReadResourceResult::new(vec![contents.map_err(read_error)?]))
}

fn percent_decode(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

async fn read_document(
    shared: &Shared,
    uri: &str,
    application: &str,
    version: &str,
    name: &str,
) -> Result<ResourceContents, ToolError> {
    let (id, number) = (ApplicationId::from(application), VersionNumber::from(version));
    let documents = shared.client.applications().documents(&id, &number);
    let media_type = documents.get(name).await?.mime_type;
    let bytes = documents.read(name).await?;
    if bytes.len() > MAX_BYTES {
        let error = ToolError::new(format!("the document '{name}' has {} bytes, more than {MAX_BYTES}", bytes.len()));
        return Err(error.with_hint("aignostics application document download"));
    }
    let contents = match String::from_utf8(bytes) {
        Ok(text) if media_type.starts_with("text/") || media_type.ends_with("json") => {
            ResourceContents::text(text, uri)
        }
        Ok(text) => ResourceContents::blob(STANDARD.encode(text), uri),
        Err(error) => ResourceContents::blob(STANDARD.encode(error.as_bytes()), uri),
    };
    Ok(contents.with_mime_type(media_type))
}

fn read_manifest(shared: &Shared, uri: &str, folder: &str) -> Result<ResourceContents, ToolError> {
    let file = shared.folders.resolve(folder)?.join("manifest.jsonl");
    let contents = durable_fs::regular::read(&file, MAX_BYTES)?;
    let contents = contents.ok_or_else(|| ToolError::new(format!("'{folder}' has no manifest")))?;
    let text = guard::redact_text(&String::from_utf8_lossy(contents.bytes()));
    Ok(ResourceContents::text(text, uri).with_mime_type("application/jsonl"))
}
