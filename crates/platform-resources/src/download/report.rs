use std::error::Error;
use std::path::PathBuf;
use std::time::SystemTime;

use platform_api::models::{ArtifactId, Run, RunId, RunState, RunTerminationReason};
use platform_download::{FolderError, Outcome, Progress, Totals, Verification};

use crate::{Actor, ItemOutcome};

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
        /// Their total length, if stated.
        bytes: u64,
    },
    /// The total progress of all files: at most ten times per second, and at the end.
    Progress(Totals),
    /// The progress of one file: at most ten times per second, and when it ends.
    File(FileEvent),
}

/// The progress of a run on the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunProgress {
    /// The run.
    pub id: RunId,
    /// Its state.
    pub state: RunState,
    /// The time of the submission.
    pub submitted_at: SystemTime,
    /// The number of ended items, successful or not.
    pub ended: usize,
    /// The number of all items of the run.
    pub items: usize,
    /// The number of items that the platform processes first, if it states that.
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

    /// Sets the number of items that the platform processes first.
    #[must_use]
    pub fn with_items_ahead(self, items_ahead: Option<u64>) -> Self {
        Self { items_ahead, ..self }
    }

    pub(super) fn of(run: &Run, ended: usize, items: usize) -> Self {
        let ahead = run.num_preceding_items_platform.and_then(|ahead| u64::try_from(ahead).ok());
        let progress = Self::new(run.run_id.clone(), run.state.clone(), run.submitted_at.into());
        progress.with_items(ended, items).with_items_ahead(ahead)
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
    /// Its length, if known.
    pub bytes: Option<u64>,
    /// Its progress.
    pub progress: FileProgress,
}

/// The progress of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileProgress {
    /// The number of bytes received in this call.
    pub received: u64,
    /// The number of bytes that survive the end of the process, including earlier calls.
    pub durable: u64,
    /// The current or final step.
    pub step: FileStep,
}

/// A step of the download of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileStep {
    /// The file is examined or downloaded.
    #[default]
    Fetching,
    /// The file is published, with this verification.
    InPlace(Verification),
    /// The download failed.
    Failed,
}

impl FileProgress {
    pub(super) fn add(&mut self, progress: Progress) {
        match progress {
            Progress::Received(bytes) => self.received += bytes,
            Progress::Kept(bytes) | Progress::Durable(bytes) => self.durable += bytes,
            Progress::Lost(bytes) => self.durable = self.durable.saturating_sub(bytes),
            _ => {}
        }
    }
}

/// The result of downloading a run.
#[derive(Debug)]
#[non_exhaustive]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// The termination reason of the run.
    pub termination_reason: Option<RunTerminationReason>,
    /// The number of its items, as stated by the platform.
    pub item_count: usize,
    /// The number of ended items that are in another shard, or are not selected.
    pub left_out: usize,
    /// All other items, in the order in which they ended.
    pub items: Vec<ItemReport>,
    /// The path of the folder's manifest, or the error of writing it. The files are published in either case.
    pub manifest: Result<PathBuf, FolderError>,
}

/// The error of an artifact whose file was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the platform has deleted the file: {}", match by { Actor::User => "a user asked for it", Actor::System => "its retention period has ended" })]
pub(super) struct DeletedFile {
    pub(super) by: Actor,
}

/// The numbers of result files that the platform has deleted and that are not in the folder, by originator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Its outcome.
    pub outcome: ItemOutcome,
    /// The platform's message about a failure.
    pub message: Option<String>,
    /// The checksums of its inputs by name, as the submitter stated them: as JSON, which is small.
    pub(super) inputs: Box<str>,
    /// Its artifacts.
    pub artifacts: Vec<ArtifactReport>,
}

/// The result of an artifact.
#[derive(Debug)]
#[non_exhaustive]
pub struct ArtifactReport {
    /// The name of the artifact.
    pub name: String,
    /// The path of its file relative to the folder, with `/` between folders.
    pub file: String,
    /// The result of its download, or the reason why it failed.
    pub outcome: Result<Outcome, Box<dyn Error + Send + Sync>>,
}

impl RunReport {
    pub(super) fn new(run: &RunId) -> Self {
        let manifest = Ok(PathBuf::new());
        Self { run: run.clone(), termination_reason: None, item_count: 0, left_out: 0, items: Vec::new(), manifest }
    }

    pub(super) fn learn(&mut self, run: &Run) {
        self.item_count = usize::try_from(run.statistics.item_count).unwrap_or_default();
        self.termination_reason.clone_from(&run.termination_reason);
    }

    /// Returns the errors of all artifacts that were not downloaded.
    pub fn failures(&self) -> impl Iterator<Item = &(dyn Error + Send + Sync + 'static)> {
        let artifacts = self.items.iter().flat_map(|item| &item.artifacts);
        artifacts.filter_map(|artifact| artifact.outcome.as_ref().err()).map(AsRef::as_ref)
    }

    /// Returns the number of missing files that the platform has deleted.
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
    /// Returns true if every downloaded artifact has the checksum stated by the platform.
    pub fn is_verified(&self) -> bool {
        let outcomes =
            self.items.iter().flat_map(|item| &item.artifacts).filter_map(|artifact| artifact.outcome.as_ref().ok());
        outcomes.map(|outcome| outcome.verification).all(|verification| verification == Verification::Declared)
    }
}

impl ArtifactReport {
    /// Returns the originator of the deletion, if the file is missing because it was deleted. The platform deletes
    /// files whose retention has ended.
    pub fn deleted_by(&self) -> Option<Actor> {
        let error: &(dyn Error + 'static) = &**self.outcome.as_ref().err()?;
        let mut causes = std::iter::successors(Some(error), |&error| error.source());
        causes.find_map(|cause| cause.downcast_ref::<DeletedFile>()).map(|deleted| deleted.by)
    }
}

impl DeletedFiles {
    /// Returns the total number of deleted files.
    pub fn count(self) -> usize {
        self.by_user + self.by_retention
    }
}

impl ItemReport {
    /// Returns the total length of the downloaded files.
    pub fn bytes(&self) -> u64 {
        let outcomes = self.artifacts.iter().filter_map(|artifact| artifact.outcome.as_ref().ok());
        outcomes.map(|outcome| outcome.bytes).sum()
    }
}
