//! The application of the emulator: it finds the tissue on a slide.

mod grid;
mod output;
mod tissue;

use std::path::Path;
use std::sync::{Arc, LazyLock};

use auth_http::{Request, redacted};
use serde::Deserialize;
use serde_json::{Value, json};

use tokio::task::spawn_blocking;
use url::Url;
use uuid::Uuid;

use crate::account::Organization;
use crate::platform::Platform;
use crate::run::{Failure, Item, OutputArtifact};
use crate::storage::{Object, checksum_text};
use tissue::Tissue;

pub(crate) const ID: &str = "tissue";
pub(crate) const VERSION: &str = "1.0.0";
pub(crate) const RELEASED_AT: &str = "2026-03-01T12:00:00Z";
/// The name of the one input artifact.
pub(crate) const INPUT: &str = "whole_slide_image";

/// Name and type of each output artifact.
const HEATMAP: (&str, &str) = ("tissue:heatmap", "image/tiff");
const POLYGONS: (&str, &str) = ("tissue:polygons", "application/geo+json");
const AREAS: (&str, &str) = ("tissue:areas", "text/csv");

static METADATA_SCHEMA: LazyLock<Value> = LazyLock::new(|| {
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
});

/// What the submitter says of a slide.
#[derive(Clone, Deserialize)]
struct Stated {
    checksum_base64_crc32c: String,
    width_px: u32,
    height_px: u32,
    resolution_mpp: f64,
}

/// The version as the API describes it.
pub(crate) fn description() -> Value {
    let output = |(name, mime_type): (&str, &str)| {
        let properties = json!({ "checksum_base64_crc32c": { "type": "string" }, "media_type": { "type": "string" }, "size_bytes": { "type": "integer" } });
        json!({ "name": name, "mime_type": mime_type, "metadata_schema": { "type": "object", "properties": properties }, "scope": "ITEM", "visibility": "EXTERNAL" })
    };
    json!({
        "version_number": VERSION,
        "changelog": "The first version.",
        "input_artifacts": [{ "name": INPUT, "mime_type": "image/tiff", "metadata_schema": *METADATA_SCHEMA }],
        "output_artifacts": [output(HEATMAP), output(POLYGONS), output(AREAS)],
        "released_at": RELEASED_AT,
    })
}

/// Whether the metadata of a slide are of the form that the application asks for; if not, why.
pub(crate) fn check_metadata(metadata: &Value) -> Result<(), String> {
    jsonschema::validate(&METADATA_SCHEMA, metadata)
        .map_err(|error| format!("metadata{}: {error}", error.instance_path()))
}

/// Works on one item of a run of `owner`: from the URL of its slide to three stored artifacts.
pub(crate) async fn process(
    platform: &Arc<Platform>,
    owner: &Organization,
    run: Uuid,
    item: &Item,
) -> Result<Vec<OutputArtifact>, Failure> {
    let input = item.inputs.first().ok_or_else(|| Failure::User("there is no slide".to_owned()))?;
    let stated: Stated =
        serde_json::from_value(input.metadata.clone()).map_err(|error| Failure::User(error.to_string()))?;
    let slide = fetch(platform, &input.download_url).await?;
    let checksum = checksum_text(slide.about.crc32c);
    if checksum != stated.checksum_base64_crc32c {
        return Err(Failure::User(format!(
            "the slide has the CRC32C {checksum}, but its metadata say {}",
            stated.checksum_base64_crc32c
        )));
    }
    let tissue = spawn_blocking(move || analyse(slide.path(), &stated))
        .await
        .map_err(|error| Failure::System(error.to_string()))??;
    let tissue = Arc::new(tissue);
    let mut artifacts = Vec::new();
    for ((name, media_type), write) in [
        (HEATMAP, output::heatmap as fn(&Tissue) -> Result<Vec<u8>, String>),
        (POLYGONS, output::polygons),
        (AREAS, |tissue| Ok(output::areas(tissue))),
    ] {
        let tissue = tissue.clone();
        let bytes = spawn_blocking(move || write(&tissue)).await.map_err(|error| error.to_string());
        let bytes = bytes.and_then(|written| written).map_err(Failure::System)?;
        let key = format!("results/{run}/{}/{}", item.id, name.replace(':', "/"));
        let system = |error: std::io::Error| Failure::System(error.to_string());
        let object = write_object(platform, media_type, &bytes).await.map_err(system)?;
        let about = &object.about;
        let metadata = json!({ "checksum_base64_crc32c": checksum_text(about.crc32c), "media_type": media_type, "size_bytes": about.bytes });
        platform.objects.put(platform.state.store(), &owner.bucket, &key, object).await.map_err(system)?;
        artifacts.push(OutputArtifact { id: platform.random.uuid(), name: name.to_owned(), key, metadata });
    }
    Ok(artifacts)
}

async fn fetch(platform: &Platform, url: &str) -> Result<Object, Failure> {
    let user = |error: &dyn ToString| Failure::User(format!("the slide cannot be fetched: {}", error.to_string()));
    let url: Url = url.parse().map_err(|error: url::ParseError| user(&error))?;
    let mut response = platform.http.send(Request::get(url.clone())).await.map_err(|error| user(&error))?;
    if response.status() != 200 {
        return Err(user(&format!("{} answered {}", redacted(&url), response.status())));
    }
    let system = |error: std::io::Error| Failure::System(error.to_string());
    let mut upload = platform.objects.create().await.map_err(system)?;
    while let Some(piece) = response.chunk().await.map_err(|error| user(&error))? {
        upload.write(&piece).await.map_err(system)?;
    }
    upload.finish("image/tiff").await.map_err(system)
}

async fn write_object(platform: &Platform, media_type: &str, bytes: &[u8]) -> std::io::Result<Object> {
    let mut upload = platform.objects.create().await?;
    upload.write(bytes).await?;
    upload.finish(media_type).await
}

fn analyse(path: &Path, stated: &Stated) -> Result<Tissue, Failure> {
    let slide = grid::read(path).map_err(|error| Failure::User(format!("the slide cannot be decoded: {error}")))?;
    if (slide.width, slide.height) != (stated.width_px, stated.height_px) {
        let (width, height) = (slide.width, slide.height);
        return Err(Failure::User(format!(
            "the slide has {width} × {height} pixels, but its metadata say {} × {}",
            stated.width_px, stated.height_px
        )));
    }
    Ok(Tissue::find(slide, stated.resolution_mpp))
}
