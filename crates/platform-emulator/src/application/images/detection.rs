//! The application that detects tissue on a slide: it downloads the slide, verifies it, and processes its pixels.

use std::path::Path;
use std::sync::Arc;

use auth_http::{Request, redacted};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use url::{Position, Url};

use super::super::{Job, Output};
use super::tissue::Tissue;
use super::{grid, output};
use crate::platform::Platform;
use crate::state::run::{Failure, OutputArtifact};
use crate::storage::{Object, checksum_text};

const HEATMAP: Output = Output { name: "tissue:heatmap", media_type: "image/tiff" };
const POLYGONS: Output = Output { name: "tissue:polygons", media_type: "application/geo+json" };
const AREAS: Output = Output { name: "tissue:areas", media_type: "text/csv" };
pub(super) const OUTPUTS: [Output; 3] = [HEATMAP, POLYGONS, AREAS];

pub(super) fn metadata_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "checksum_base64_crc32c": { "type": "string", "pattern": "^[A-Za-z0-9+/]{6}==$" },
            "width_px": { "type": "integer", "minimum": 1 },
            "height_px": { "type": "integer", "minimum": 1 },
            "resolution_mpp": { "type": "number", "exclusiveMinimum": 0, "maximum": 100 },
            "media_type": { "type": "string", "enum": ["image/tiff"] },
        },
        "required": ["checksum_base64_crc32c", "width_px", "height_px", "resolution_mpp", "media_type"],
    })
}

/// The metadata that the user submitted with a slide.
#[derive(Clone, Deserialize)]
struct SlideMetadata {
    checksum_base64_crc32c: String,
    width_px: u32,
    height_px: u32,
    resolution_mpp: f64,
}

/// Downloads the slide of an item, detects its tissue, and stores the three artifacts.
pub(super) async fn process(job: &Job<'_>) -> Result<Vec<OutputArtifact>, Failure> {
    let input = job.item.inputs.first().ok_or_else(|| Failure::User("the item has no slide".to_owned()))?;
    let declared: SlideMetadata =
        serde_json::from_value(input.metadata.clone()).map_err(|error| Failure::User(error.to_string()))?;
    let slide = fetch(job.platform, &input.download_url, &declared.checksum_base64_crc32c).await?;
    let tissue = spawn_blocking(move || analyze(slide.path(), &declared))
        .await
        .map_err(|error| Failure::System(error.to_string()))??;
    store(job, tissue).await
}

/// Stores the three artifacts.
pub(super) async fn store(job: &Job<'_>, tissue: Tissue) -> Result<Vec<OutputArtifact>, Failure> {
    let tissue = Arc::new(tissue);
    let mut artifacts = Vec::new();
    for (output, write) in [
        (HEATMAP, output::heatmap as fn(&Tissue) -> Result<Vec<u8>, String>),
        (POLYGONS, output::polygons),
        (AREAS, |tissue| Ok(output::areas(tissue))),
    ] {
        let tissue = tissue.clone();
        let bytes = spawn_blocking(move || write(&tissue)).await.map_err(|error| error.to_string());
        let bytes = bytes.and_then(|result| result).map_err(Failure::System)?;
        artifacts.push(job.store(output.name, output.media_type, &bytes).await?);
    }
    Ok(artifacts)
}

/// Downloads a slide and verifies its checksum.
pub(super) async fn fetch(platform: &Platform, url: &str, declared_checksum: &str) -> Result<Object, Failure> {
    let user_error =
        |error: &dyn ToString| Failure::User(format!("the slide cannot be fetched: {}", error.to_string()));
    let url: Url = url.parse().map_err(|error: url::ParseError| user_error(&error))?;
    let mut response = platform.http.send(request(platform, &url)).await.map_err(|error| user_error(&error))?;
    if response.status() != 200 {
        return Err(user_error(&format!("{} responded with {}", redacted(&url), response.status())));
    }
    let system_error = |error: std::io::Error| Failure::System(error.to_string());
    let mut upload = platform.objects.create().await.map_err(system_error)?;
    while let Some(chunk) = response.chunk().await.map_err(|error| user_error(&error))? {
        upload.write(&chunk).await.map_err(system_error)?;
    }
    let slide = upload.finish("image/tiff").await.map_err(system_error)?;
    let checksum = checksum_text(slide.properties.crc32c);
    if checksum != declared_checksum {
        return Err(Failure::User(format!(
            "the slide has the CRC32C {checksum}, but its metadata state {declared_checksum}"
        )));
    }
    Ok(slide)
}

/// Returns the request for a slide. If the configuration lists the host in the URL as a name of this emulator, the
/// request goes to the emulator's storage, with the host of the signed URL in the `Host` header.
fn request(platform: &Platform, url: &Url) -> Request {
    let has_configured_host = url.host_str().is_some_and(|host| platform.config.hosts.iter().any(|name| name == host));
    let bucket = url.path_segments().and_then(|mut segments| segments.next()).unwrap_or_default();
    if !has_configured_host || !platform.accounts.has_bucket(bucket) {
        return Request::get(url.clone());
    }
    let mut storage_url = platform.storage.clone();
    storage_url.set_path(url.path());
    storage_url.set_query(url.query());
    Request::get(storage_url).with_header("host", &url[Position::BeforeHost..Position::AfterPort])
}

fn analyze(path: &Path, declared: &SlideMetadata) -> Result<Tissue, Failure> {
    let slide = grid::read(path).map_err(|error| Failure::User(format!("the slide cannot be decoded: {error}")))?;
    if (slide.width, slide.height) != (declared.width_px, declared.height_px) {
        let (width, height) = (slide.width, slide.height);
        return Err(Failure::User(format!(
            "the slide has {width} × {height} pixels, but its metadata say {} × {}",
            declared.width_px, declared.height_px
        )));
    }
    Ok(Tissue::find(slide, declared.resolution_mpp))
}
