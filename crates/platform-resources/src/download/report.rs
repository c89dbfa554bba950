use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use platform_api::models::{ArtifactId, Item, Run, RunId, RunState, RunTerminationReason};
use platform_download::{DownloadError, FolderError, Outcome, Progress, Totals, Verification};

use crate::{Actor, ArtifactOutcome, ItemOutcome};

/// An event of a run download.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The state of the run was queried.
    Run(RunProgress),
    /// Artifacts of an item are queued for download.
    Planned {
        /// The number of files.
        files: usize,
        /// The total length of the files, in bytes. Files of unknown length count as 0.
        bytes: u64,
    },
    /// The total progress of all files: at most ten times per second, and at the end.
    Progress(Totals),
    /// The progress of one file: at most ten times per second, and when its download ends.
    File(FileEvent),
}

/// The progress of a run on the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunProgress {
    /// The id of the run.
    pub id: RunId,
    /// The state of the run.
    pub state: RunState,
    /// The time of the submission.
    pub submitted_at: SystemTime,
    /// The number of ended items, successful or not.
    pub ended: usize,
    /// The number of all items of the run.
    pub items: usize,
    /// The number of items of other runs that the platform processes before this run; `None` if unknown.
    pub items_ahead: Option<u64>,
}

impl RunProgress {
    /// Creates the progress of a run without items.
    pub fn new(id: RunId, state: RunState, submitted_at: SystemTime) -> Self {
        Self { id, state, submitted_at, ended: 0, items: 0, items_ahead: None }
    }

    /// Sets the numbers of ended items and of all items.
    #[must_use]
    pub fn with_items(self, ended: usize, items: usize) -> Self {
        Self { ended, items, ..self }
    }

    /// Sets the number of items of other runs that the platform processes before this run.
    #[must_use]
    pub fn with_items_ahead(self, items_ahead: Option<u64>) -> Self {
        Self { items_ahead, ..self }
    }

    /// Returns the time left at the average rate since the submission. Returns `None` before the first item has ended,
    /// and after the last item has ended.
    pub fn time_left(&self, now: SystemTime) -> Option<Duration> {
        let elapsed = now.duration_since(self.submitted_at).unwrap_or_default();
        let ended_items = u32::try_from(self.ended).ok().filter(|ended_items| *ended_items > 0)?;
        let remaining_items =
            u32::try_from(self.items.checked_sub(self.ended)?).ok().filter(|remaining_items| *remaining_items > 0)?;
        (elapsed / ended_items).checked_mul(remaining_items)
    }

    pub(super) fn of(run: &Run, ended: usize, items: usize) -> Self {
        let items_ahead = run.num_preceding_items_platform.and_then(|count| u64::try_from(count).ok());
        let progress = Self::new(run.run_id.clone(), run.state.clone(), run.submitted_at.into());
        progress.with_items(ended, items).with_items_ahead(items_ahead)
    }
}

/// A progress event of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileEvent {
    /// The external id of the item.
    pub item: String,
    /// The name of the artifact.
    pub artifact: String,
    /// The id of the artifact.
    pub artifact_id: ArtifactId,
    /// The path of the file relative to the folder, with `/` between folders.
    pub file: String,
    /// The length of the file in bytes, if it is known.
    pub bytes: Option<u64>,
    /// The progress of the file.
    pub progress: FileProgress,
}

/// The progress of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileProgress {
    /// The number of bytes that this download has received.
    pub received: u64,
    /// The number of bytes on disk, including those of earlier downloads. They need not be downloaded again after the
    /// process ends.
    pub durable: u64,
    /// The current or final step.
    pub step: FileStep,
}

/// The step of the download of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileStep {
    /// The existing file is being checked, or the file is being downloaded.
    #[default]
    Fetching,
    /// The file has its final name. The value is the source of the expected checksum.
    Published(Verification),
    /// The download failed.
    Failed,
}

impl FileProgress {
    pub(super) fn add(&mut self, progress: Progress) {
        match progress {
            Progress::Received(bytes) => self.received += bytes,
            Progress::AlreadyPresent(bytes) | Progress::Durable(bytes) => self.durable += bytes,
            Progress::Lost(bytes) => self.durable = self.durable.saturating_sub(bytes),
            _ => {}
        }
    }
}

/// The result of downloading a run.
#[derive(Debug)]
#[non_exhaustive]
pub struct RunReport {
    /// The id of the run.
    pub run: RunId,
    /// The termination reason of the run.
    pub termination_reason: Option<RunTerminationReason>,
    /// The number of all items of the run.
    pub item_count: usize,
    /// The number of ended items that are in another shard or not selected.
    pub left_out: usize,
    /// The ended items in this shard that are selected, in the order in which they ended.
    pub items: Vec<ItemReport>,
    /// The path of the manifest, or the error of writing it. The files are published in either case.
    pub manifest: Result<PathBuf, FolderError>,
}

/// The verdict about the results of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The run has ended, and all selected results are in the folder.
    Complete,
    /// The run was not followed to its end. All items that have ended succeeded, and their results are in the folder.
    CompleteSoFar,
    /// Results are missing, because the disk is full.
    DiskFull,
    /// Results cannot be written.
    LocalFailure,
    /// Items failed, or results are missing.
    Incomplete,
}

/// The error of an artifact whose file was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the platform has deleted the file: {}", match by { Actor::User => "a user asked for it", Actor::System => "its retention period has ended" })]
pub(super) struct DeletedFile {
    pub(super) by: Actor,
}

/// The numbers of result files that the platform has deleted and that are not in the folder, by originator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct DeletedFiles {
    /// Files deleted by a user.
    pub by_user: usize,
    /// Files whose retention has ended ([`RESULTS_RETENTION`](crate::RESULTS_RETENTION)).
    pub by_retention: usize,
}

/// The result of an item.
#[derive(Debug)]
#[non_exhaustive]
pub struct ItemReport {
    /// The external id of the item.
    pub external_id: String,
    /// The outcome of the item.
    pub outcome: ItemOutcome,
    /// The platform's message about a failure.
    pub message: Option<String>,
    /// True if an artifact has a state that this version does not know. The artifact may have a file.
    pub has_unknown: bool,
    /// The checksums of the inputs by their names, as the submitter declared them. They are stored as JSON to save
    /// memory.
    pub(super) inputs: Box<str>,
    /// The selected artifacts of the item.
    pub artifacts: Vec<ArtifactReport>,
}

/// The result of an artifact.
#[derive(Debug)]
#[non_exhaustive]
pub struct ArtifactReport {
    /// The name of the artifact.
    pub name: String,
    /// The path of the file relative to the folder, with `/` between folders.
    pub file: String,
    /// The result of the download, or the reason why it failed.
    pub outcome: Result<Outcome, Box<dyn Error + Send + Sync>>,
}

impl RunReport {
    pub(super) fn new(run: &RunId) -> Self {
        let manifest = Ok(PathBuf::new());
        Self { run: run.clone(), termination_reason: None, item_count: 0, left_out: 0, items: Vec::new(), manifest }
    }

    pub(super) fn update(&mut self, run: &Run) {
        self.item_count = usize::try_from(run.statistics.item_count).unwrap_or_default();
        self.termination_reason.clone_from(&run.termination_reason);
    }

    /// Returns the errors of all artifacts that were not downloaded.
    pub fn failures(&self) -> impl Iterator<Item = &(dyn Error + Send + Sync + 'static)> {
        let artifacts = self.items.iter().flat_map(|item| &item.artifacts);
        artifacts.filter_map(|artifact| artifact.outcome.as_ref().err()).map(AsRef::as_ref)
    }

    /// Returns the numbers of missing files that were deleted on the platform.
    pub fn deleted(&self) -> DeletedFiles {
        let mut deleted = DeletedFiles::default();
        for artifact in self.items.iter().flat_map(|item| &item.artifacts) {
            match artifact.deleted_by() {
                Some(Actor::User) => deleted.by_user += 1,
                Some(Actor::System) => deleted.by_retention += 1,
                None => {}
            }
        }
        deleted
    }

    /// Returns the verdict about the results. Local failures take precedence over failures of the platform.
    pub fn verdict(&self) -> Verdict {
        let errors: Vec<_> = self.failures().filter_map(|error| error.downcast_ref::<DownloadError>()).collect();
        let is_manifest_disk_full = self.manifest.as_ref().is_err_and(FolderError::is_disk_full);
        #[cfg(feature = "object-store")]
        let is_store_failure = |error: &(dyn Error + Send + Sync + 'static)| {
            error.downcast_ref::<platform_download::StoreError>().is_some_and(platform_download::StoreError::is_store)
        };
        #[cfg(not(feature = "object-store"))]
        let is_store_failure = |_: &(dyn Error + Send + Sync + 'static)| false;
        let has_local_failure = errors.iter().any(|error| error.is_local()) || self.failures().any(is_store_failure);
        if self.is_complete() {
            Verdict::Complete
        } else if is_manifest_disk_full || errors.iter().any(|error| error.is_disk_full()) {
            Verdict::DiskFull
        } else if self.manifest.is_err() || has_local_failure {
            Verdict::LocalFailure
        } else if self.termination_reason.is_none() && self.failures().next().is_none() && self.have_items_succeeded() {
            Verdict::CompleteSoFar
        } else {
            Verdict::Incomplete
        }
    }

    /// Describes the missing results: deleted files, and failed items and artifacts.
    pub fn missing(&self) -> String {
        let (deleted, failed) = (self.deleted(), "some items or artifacts failed");
        match deleted.count() {
            0 => failed.to_owned(),
            count if self.failures().count() > count || !self.have_items_succeeded() => format!("{deleted}; {failed}"),
            _ => deleted.to_string(),
        }
    }

    /// Returns true if all selected items that have ended succeeded.
    pub fn have_items_succeeded(&self) -> bool {
        self.items.iter().all(|item| item.outcome == ItemOutcome::Succeeded)
    }

    /// Returns true if the run has ended, all selected items succeeded, and all of their artifacts and the manifest are
    /// written. Items that are not selected do not count, even if the run was canceled before they were processed.
    pub fn is_complete(&self) -> bool {
        self.termination_reason.is_some()
            && self.items.len() + self.left_out == self.item_count
            && self.items.iter().all(|item| item.outcome == ItemOutcome::Succeeded)
            && self.failures().next().is_none()
            && self.manifest.is_ok()
    }
}

impl RunReport {
    /// Returns true if each downloaded artifact was verified with a checksum from the platform's API.
    pub fn is_verified(&self) -> bool {
        let outcomes =
            self.items.iter().flat_map(|item| &item.artifacts).filter_map(|artifact| artifact.outcome.as_ref().ok());
        outcomes.map(|outcome| outcome.verification).all(|verification| verification == Verification::Declared)
    }
}

impl ArtifactReport {
    /// Returns who deleted the file, if it is missing for this reason: a user, or the platform at the end of the
    /// retention.
    pub fn deleted_by(&self) -> Option<Actor> {
        let error: &(dyn Error + 'static) = &**self.outcome.as_ref().err()?;
        let mut causes = std::iter::successors(Some(error), |&error| error.source());
        causes.find_map(|cause| cause.downcast_ref::<DeletedFile>()).map(|deleted| deleted.by)
    }
}

impl std::ops::Add for DeletedFiles {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { by_user: self.by_user + other.by_user, by_retention: self.by_retention + other.by_retention }
    }
}

impl DeletedFiles {
    /// Returns the numbers of files that the platform reports as deleted.
    pub fn of(items: &[Item]) -> Self {
        let outcomes = items.iter().flat_map(|item| &item.output_artifacts).map(ArtifactOutcome::of);
        outcomes.fold(Self::default(), |deleted, outcome| match outcome {
            ArtifactOutcome::Deleted(Actor::User) => Self { by_user: deleted.by_user + 1, ..deleted },
            ArtifactOutcome::Deleted(Actor::System) => Self { by_retention: deleted.by_retention + 1, ..deleted },
            _ => deleted,
        })
    }

    /// Returns the total number of deleted files.
    pub fn count(self) -> usize {
        self.by_user + self.by_retention
    }
}

impl ItemReport {
    /// Returns the total length of the downloaded files, in bytes.
    pub fn bytes(&self) -> u64 {
        let outcomes = self.artifacts.iter().filter_map(|artifact| artifact.outcome.as_ref().ok());
        outcomes.map(|outcome| outcome.bytes).sum()
    }
}
