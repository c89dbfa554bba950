use std::collections::HashSet;
use std::error::Error;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use platform_api::JsonObject;
use platform_api::models::{ArtifactId, Item, OutputArtifact, RunId};
use platform_download::{Crc32c, Downloader, Expected, ManifestEntry, Outcome, SignedUrl, Source, escape, extension};

use super::{ArtifactReport, Event};
use crate::RunHandle;

/// The keys under which artifacts state their checksum and their type.
const CHECKSUM_KEYS: [&str; 2] = ["checksum_base64_crc32c", "checksum_crc32c"];
const TYPE_KEYS: [&str; 2] = ["media_type", "mime_type"];
const SIZE_KEY: &str = "size_bytes";

/// An artifact that is to be downloaded.
pub(super) struct Planned {
    /// Which item of the report it belongs to.
    item: usize,
    id: ArtifactId,
    name: String,
    pub(super) expected: Expected,
    /// Where its file will lie, relative to the folder, with `/` between folders.
    file: String,
    path: PathBuf,
}

/// An artifact that was downloaded, or not.
pub(super) struct Fetched {
    pub(super) item: usize,
    pub(super) report: ArtifactReport,
    file: String,
    crc32c: Crc32c,
}

/// Why an artifact cannot be downloaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    #[error("the platform states no CRC32C for the artifact, so it could not be verified")]
    NoChecksum,
    #[error("another artifact of the run is kept under the same name, {0}")]
    SameName(String),
}

impl Planned {
    /// What is to be done for an artifact that has a file. One that cannot be verified, or kept
    /// apart from those in `names`, is refused.
    pub(super) fn of(
        index: usize,
        item: &Item,
        artifact: &OutputArtifact,
        folder: &Path,
        names: &mut HashSet<String>,
    ) -> Result<Self, PlanError> {
        let empty = JsonObject::new();
        let metadata = artifact.metadata.as_ref().unwrap_or(&empty);
        let text = |keys: [&str; 2]| keys.iter().find_map(|key| metadata.get(*key)?.as_str());
        let crc32c: Crc32c = text(CHECKSUM_KEYS).and_then(|text| text.parse().ok()).ok_or(PlanError::NoChecksum)?;
        let size = metadata.get(SIZE_KEY).and_then(serde_json::Value::as_u64);
        let expected = size.into_iter().fold(Expected::new(crc32c), Expected::with_bytes);
        let parts = [escape(&item.external_id), file_name(&artifact.name, text(TYPE_KEYS))];
        let file = parts.join("/");
        if !names.insert(file.to_lowercase()) {
            return Err(PlanError::SameName(file));
        }
        let path = parts.iter().fold(folder.to_owned(), |path, part| path.join(part));
        Ok(Self {
            item: index,
            id: artifact.output_artifact_id.clone(),
            name: artifact.name.clone(),
            expected,
            file,
            path,
        })
    }
}

/// The name of an artifact with the ending of its type, unless it has one already and no type.
fn file_name(name: &str, media_type: Option<&str>) -> String {
    let has_ending = std::path::Path::new(name).extension().is_some();
    let ending = match media_type {
        None if has_ending => return escape(name),
        media_type => extension(media_type.unwrap_or_default()),
    };
    if name.to_ascii_lowercase().ends_with(ending) { escape(name) } else { escape(&format!("{name}{ending}")) }
}

impl Fetched {
    /// The line for the manifest, if the file is in its place.
    pub(super) fn entry(&self, run: &RunId, external_id: &str) -> Option<ManifestEntry> {
        let bytes = self.report.outcome.as_ref().ok()?.bytes();
        Some(ManifestEntry::new(run.as_str(), external_id, &self.report.name, &self.file, bytes, self.crc32c))
    }
}

/// Where the platform says that the file of an artifact is.
#[derive(Debug)]
struct ArtifactSource<'a> {
    run: &'a RunHandle,
    id: ArtifactId,
}

#[async_trait]
impl Source for ArtifactSource<'_> {
    async fn resolve(&self) -> Result<SignedUrl, Box<dyn Error + Send + Sync>> {
        Ok(self.run.artifact_url(&self.id).await?)
    }
}

pub(super) async fn fetch(
    run: &RunHandle,
    downloader: &Downloader,
    planned: Planned,
    observer: &(dyn Fn(Event) + Send + Sync),
) -> Fetched {
    let Planned { item, id, name, expected, file, path } = planned;
    let source = ArtifactSource { run, id };
    let outcome = downloader
        .fetch(&source, expected, &path, &|bytes| {
            observer(Event::Received(bytes));
        })
        .await;
    match &outcome {
        Ok(outcome) => {
            if let Outcome::AlreadyThere(bytes) = outcome {
                observer(Event::Received(*bytes));
            }
            observer(Event::Verified);
            tracing::debug!(
                file,
                bytes = outcome.bytes(),
                fetched = matches!(outcome, Outcome::Fetched(_)),
                "in place"
            );
        }
        Err(error) => tracing::debug!(file, %error, "not downloaded"),
    }
    Fetched {
        item,
        report: ArtifactReport { name, outcome: outcome.map_err(Into::into) },
        file,
        crc32c: expected.crc32c(),
    }
}
