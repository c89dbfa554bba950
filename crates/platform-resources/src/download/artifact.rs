use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use platform_api::models::{ArtifactId, InputArtifact, Item, OutputArtifact, Run};
use platform_download::{
    Crc32c, Expected, FolderError, ManifestEntry, Meter, Origin, Progress, Provenance, Shard, Verification,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::destination::Fetcher;
use super::report::{ArtifactReport, Event, FileEvent, FileProgress, FileStep, ItemReport};
use super::selection::{Selection, media_type};
use super::source::ArtifactSource;
use crate::run::ended::ItemKey;
use crate::{Actor, ArtifactOutcome, ItemOutcome};

/// The metadata key of an artifact's size in bytes.
const SIZE_KEY: &str = "size_bytes";
/// The name and version of this program in the manifest.
const TOOL_NAME: &str = concat!("aignostics/", env!("CARGO_PKG_VERSION"));
/// The minimum time between two events for one file.
const EVENT_INTERVAL: Duration = Duration::from_millis(100);

/// An item, reduced to the properties that a download needs.
#[derive(Deserialize, Serialize)]
pub(super) struct ItemSummary {
    pub(super) key: ItemKey,
    pub(super) external_id: String,
    pub(super) outcome: ItemOutcome,
    pub(super) message: Option<String>,
    /// True if the item is in the shard and selected.
    pub(super) is_wanted: bool,
    /// The selected artifacts that have or had a file.
    pub(super) artifacts: Vec<SelectedArtifact>,
    /// True if a selected artifact has an unknown state.
    pub(super) has_unknown: bool,
    /// The checksums of the inputs by their names, as the submitter declared them.
    pub(super) inputs: BTreeMap<String, String>,
    /// The names and media types of artifacts that are not selected.
    pub(super) unselected: Vec<String>,
}

/// The external id of an [`ItemSummary`]. It deserializes only this field.
#[derive(Deserialize)]
pub(super) struct ExternalIdOnly<'a> {
    #[serde(borrow)]
    pub(super) external_id: Cow<'a, str>,
}

/// An artifact that has or had a file.
#[derive(Deserialize, Serialize)]
pub(super) struct SelectedArtifact {
    pub(super) id: ArtifactId,
    pub(super) name: String,
    pub(super) media_type: Option<String>,
    /// The metadata key and the value of the checksum.
    checksum: Option<(String, Value)>,
    bytes: Option<u64>,
    /// The actor that deleted the file, if it was deleted.
    pub(super) deleted: Option<Actor>,
}

/// An artifact to download.
pub(super) struct PlannedFile {
    /// The index of the item in the report.
    pub(super) item_index: usize,
    pub(super) id: ArtifactId,
    pub(super) name: String,
    pub(super) expected: Expected,
    /// The path of the file relative to the folder, with `/` between folders.
    pub(super) file: String,
    /// The actor that deleted the file on the platform, if it was deleted. An existing local file is still verified.
    pub(super) deleted: Option<Actor>,
    /// The verification in the manifest, if only the manifest has the checksum.
    pub(super) recorded_verification: Option<Verification>,
    pub(super) attempts: FetchAttempts,
}

/// The next artifact to download.
pub(super) struct NextFile<T> {
    pub(super) planned: Box<PlannedFile>,
    /// The external id of the item.
    pub(super) external_id: String,
    pub(super) target: T,
    pub(super) source: Arc<ArtifactSource>,
}

/// The failed attempts to download a file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FetchAttempts {
    /// The number of failures since the last progress.
    pub(super) failures: u32,
    /// The start of the first failed attempt since the last progress.
    first_start: Option<Instant>,
}

impl FetchAttempts {
    /// Adds a failed attempt that started at `start`. If the attempt made progress, the count and the time restart.
    /// Returns `None` if the time limit is reached.
    fn with_failure(self, start: Instant, made_progress: bool, limit: Duration) -> Option<Self> {
        let first_start = self.first_start.filter(|_| !made_progress).unwrap_or(start);
        let failures = if made_progress { 1 } else { self.failures.saturating_add(1) };
        (first_start.elapsed() < limit).then_some(Self { failures, first_start: Some(first_start) })
    }
}

/// The result of downloading an artifact, successful or not.
pub(super) struct FetchOutcome {
    /// The index of the item in the report.
    pub(super) item_index: usize,
    pub(super) report: ArtifactReport,
}

/// The reason why an artifact cannot be downloaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    #[error("invalid checksum `{text}` under `{key}` of the artifact: expected a CRC32C in base64")]
    Checksum { key: String, text: String },
    #[error("'{file}' is a result of run {run} and is not overwritten")]
    OtherRun { file: String, run: String },
    #[error(transparent)]
    Folder(#[from] FolderError),
}

impl ItemSummary {
    /// Summarizes an item. Artifacts are included only if the item is in the shard and selected.
    pub(super) fn of(item: Item, shard: Shard, selection: &Selection, checksum_keys: &[String]) -> Self {
        let outcome = ItemOutcome::of(&item);
        let is_wanted = shard.contains(&item.external_id) && selection.has_item(&item.external_id);
        let inputs = item.input_artifacts.iter().filter(|_| is_wanted);
        let inputs = inputs.filter_map(|input| Some((input.name.clone(), checksum(input, checksum_keys)?))).collect();
        let artifacts = item.output_artifacts.into_iter().filter(|_| is_wanted);
        let (selected, not_selected): (Vec<_>, Vec<_>) =
            artifacts.partition(|artifact| selection.has_artifact(artifact));
        let has_unknown =
            selected.iter().any(|artifact| matches!(ArtifactOutcome::of(artifact), ArtifactOutcome::Unknown(_)));
        let artifacts =
            selected.into_iter().filter_map(|artifact| SelectedArtifact::of(artifact, checksum_keys)).collect();
        let unselected = not_selected.iter().map(describe_artifact).collect();
        let (key, external_id, message) = (ItemKey::of(&item.item_id), item.external_id, item.error_message);
        Self { key, external_id, outcome, message, is_wanted, artifacts, has_unknown, inputs, unselected }
    }
}

impl SelectedArtifact {
    /// Returns the properties of an artifact, or `None` if it never had a file.
    fn of(artifact: OutputArtifact, checksum_keys: &[String]) -> Option<Self> {
        let deleted = match ArtifactOutcome::of(&artifact) {
            ArtifactOutcome::Available => None,
            ArtifactOutcome::Deleted(actor) => Some(actor),
            _ => return None,
        };
        let media_type = media_type(&artifact).map(str::to_owned);
        let OutputArtifact { output_artifact_id: id, name, metadata, .. } = artifact;
        let metadata = metadata.unwrap_or_default();
        let declared_checksum =
            |key: &String| Some((key.clone(), metadata.get(key).filter(|value| !value.is_null())?.clone()));
        let checksum = checksum_keys.iter().find_map(declared_checksum);
        let bytes = metadata.get(SIZE_KEY).and_then(Value::as_u64);
        Some(Self { id, name, media_type, checksum, bytes, deleted })
    }

    /// Returns the size and the checksum in the metadata. Fails if the checksum is not valid.
    pub(super) fn expected(&self) -> Result<Expected, PlanError> {
        let mut expected = Expected::unknown();
        if let Some((key, value)) = &self.checksum {
            let checksum: Option<Crc32c> = value.as_str().and_then(|text| text.parse().ok());
            let invalid_checksum = || PlanError::Checksum { key: key.clone(), text: value.to_string() };
            expected = Expected::new(checksum.ok_or_else(invalid_checksum)?);
        }
        Ok(self.bytes.map_or(expected, |bytes| expected.with_bytes(bytes)))
    }
}

/// Returns the checksum in the metadata of an input.
fn checksum(input: &InputArtifact, checksum_keys: &[String]) -> Option<String> {
    let metadata = input.metadata.as_ref()?;
    checksum_keys.iter().find_map(|key| metadata.get(key)?.as_str().map(str::to_owned))
}

/// Returns the name and the media type of an artifact, for an error message.
fn describe_artifact(artifact: &OutputArtifact) -> String {
    let media_type = media_type(artifact).map(|media_type| format!(" ({media_type})")).unwrap_or_default();
    format!("{}{media_type}", artifact.name)
}

impl FetchOutcome {
    /// Returns the manifest entry of a published file, or `None` if the download failed.
    pub(super) fn manifest_entry(
        &self,
        run: &Run,
        item: &ItemReport,
        (platform, now): (&Url, SystemTime),
    ) -> Option<ManifestEntry> {
        let origin = Origin {
            run: run.run_id.to_string(),
            application: run.application_id.to_string(),
            version: run.version_number.to_string(),
            item: item.external_id.clone(),
            artifact: self.report.name.clone(),
        };
        let provenance = Provenance {
            platform: Some(platform.to_string()),
            organization: run.organization_id.clone(),
            user: Some(run.submitted_by.clone()),
            tool: Some(TOOL_NAME.to_owned()),
            inputs: serde_json::from_str(&item.inputs).unwrap_or_default(),
        };
        let entry = ManifestEntry::new(origin, &self.report.file, self.report.outcome.as_ref().ok()?, now);
        Some(entry.with_provenance(provenance))
    }
}

/// Downloads a file. Returns `Err` with the planned file if it is postponed: the time limit for one fetch is reached,
/// and the caller tries again after other files.
pub(super) async fn fetch_file<T, F: Fetcher<T>>(
    next: NextFile<T>,
    fetcher: &F,
    (meter, limit): (&Meter, Duration),
    observer: &(dyn Fn(Event) + Send + Sync),
) -> Result<FetchOutcome, Box<PlannedFile>> {
    let NextFile { planned, external_id, target, source } = next;
    let PlannedFile { id, name, expected, file, recorded_verification, attempts, .. } = &*planned;
    let start = Instant::now();
    let event = FileEvent {
        item: external_id,
        artifact: name.clone(),
        artifact_id: id.clone(),
        file: file.clone(),
        bytes: expected.bytes(),
        progress: FileProgress::default(),
    };
    let last_event = std::sync::Mutex::new((event, Instant::now()));
    let on_progress = |progress| {
        if let Some(totals) = meter.add(progress) {
            observer(Event::Progress(totals));
        }
        let mut last_event = last_event.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        last_event.0.progress.add(progress);
        let is_event_due = last_event.1.elapsed() >= EVENT_INTERVAL;
        if is_event_due {
            last_event.1 = Instant::now();
            let event = last_event.0.clone();
            drop(last_event);
            observer(Event::File(event));
        }
    };
    let mut outcome = fetcher.fetch(&*source, *expected, &target, &on_progress).await;
    if let (Ok(outcome), Some(verification)) = (&mut outcome, recorded_verification) {
        outcome.verification = *verification;
    }
    let mut event = last_event.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).0;
    let is_postponed = outcome.as_ref().is_err_and(F::is_postponed);
    let made_progress = F::RESUMES && event.progress.received > 0;
    if let Some(attempts) = attempts.with_failure(start, made_progress, limit).filter(|_| is_postponed) {
        tracing::debug!(file, failures = attempts.failures, "download postponed");
        // The next attempt adds the durable bytes again.
        meter.add(Progress::Lost(event.progress.durable));
        return Err(Box::new(PlannedFile { attempts, ..*planned }));
    }
    event.progress.step =
        outcome.as_ref().map_or(FileStep::Failed, |outcome| FileStep::Published(outcome.verification));
    match &outcome {
        Ok(outcome) => {
            event.bytes = Some(outcome.bytes);
            tracing::debug!(file, bytes = outcome.bytes, fetched = !outcome.already_present, "published");
            let totals = meter.done(expected.bytes(), outcome.bytes);
            totals.map(Event::Progress).into_iter().for_each(observer);
        }
        Err(error) => tracing::debug!(file, %error, "not downloaded"),
    }
    observer(Event::File(event));
    let PlannedFile { item_index, name, file, .. } = *planned;
    Ok(FetchOutcome { item_index, report: ArtifactReport { name, file, outcome: outcome.map_err(Into::into) } })
}
