//! Applications that look at no slide, and make what a client has to cope with.

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Job, Output};
use crate::run::{Failure, OutputArtifact};

pub(super) const REPORT: Output = Output { name: "report:summary", media_type: "application/json" };
pub(super) const TILE: Output = Output { name: "tile:0000", media_type: "text/csv" };
pub(super) const VOLUME: Output = Output { name: "volume:intensities", media_type: "application/octet-stream" };

/// So many files are written at the same time.
const AT_ONCE: usize = 16;

/// What an item asks for.
#[derive(Deserialize)]
#[serde(default)]
struct Wanted {
    outcome: String,
    files: u32,
    size_bytes: u64,
    media_type: String,
}

impl Default for Wanted {
    fn default() -> Self {
        let (outcome, media_type) = ("SUCCEEDED".to_owned(), VOLUME.media_type.to_owned());
        Self { outcome, files: 2000, size_bytes: 4 << 30, media_type }
    }
}

fn wanted(job: &Job<'_>) -> Result<Wanted, Failure> {
    let metadata = job.item.inputs.first().map(|input| input.metadata.clone()).unwrap_or_default();
    serde_json::from_value(metadata).map_err(|error| Failure::User(error.to_string()))
}

fn schema(name: &str, property: &Value) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": { name: property },
    })
}

pub(super) fn outcome_schema() -> Value {
    schema("outcome", &json!({ "type": "string", "enum": ["SUCCEEDED", "USER_ERROR", "SYSTEM_ERROR"] }))
}

pub(super) fn count_schema() -> Value {
    schema("files", &json!({ "type": "integer", "minimum": 1, "maximum": 10_000 }))
}

pub(super) fn size_schema() -> Value {
    schema("size_bytes", &json!({ "type": "integer", "minimum": 0, "maximum": 1_u64 << 40 }))
}

/// Ends the item as it was asked to.
pub(super) async fn outcome(job: &Job<'_>) -> Result<Vec<OutputArtifact>, Failure> {
    match wanted(job)?.outcome.as_str() {
        "USER_ERROR" => Err(Failure::User("the metadata of the slide ask for it".to_owned())),
        "SYSTEM_ERROR" => Err(Failure::System("the metadata of the slide ask for it".to_owned())),
        _ => {
            let report = json!({ "external_id": job.item.external_id, "outcome": "SUCCEEDED" });
            Ok(vec![job.store(REPORT.name, REPORT.media_type, report.to_string().as_bytes()).await?])
        }
    }
}

/// Makes small files; no two are alike.
pub(super) async fn many_files(job: &Job<'_>) -> Result<Vec<OutputArtifact>, Failure> {
    let tiles = stream::iter(0..wanted(job)?.files).map(|number| async move {
        let rows = (0..=number % 32).map(|row| format!("{number},{row},{}\n", number * 31 + row));
        let content = format!("tile,row,cells\n{}", rows.collect::<String>());
        job.store(&format!("tile:{number:04}"), TILE.media_type, content.as_bytes()).await
    });
    tiles.buffered(AT_ONCE).try_collect().await
}

/// Makes one file whose bytes come from a formula, so that it takes no room.
pub(super) async fn huge_file(job: &Job<'_>) -> Result<Vec<OutputArtifact>, Failure> {
    let Wanted { size_bytes, media_type, .. } = wanted(job)?;
    let (key, seed) = (job.key(VOLUME.name), job.item.id.as_u64_pair().0);
    let object = job.platform.objects.generate(seed, size_bytes, &media_type);
    let kept = job.platform.keep(&job.owner.bucket, &key, object).await;
    let kept = kept.map_err(|error| Failure::System(error.to_string()))?;
    Ok(vec![job.artifact(VOLUME.name, key, &kept.about)])
}
