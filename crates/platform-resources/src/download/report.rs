use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;

use platform_api::models::{ArtifactId, Run, RunId, RunTerminationReason};
use platform_download::{FolderError, Outcome, Progress, Totals, Verification};

use super::artifact::DeletedFile;
use crate::{By, ItemOutcome};

/// What happens while a run is downloaded.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// This many items of all have ended.
    Items {
        /// Items that have ended, whether they succeeded or not.
        ended: usize,
        /// All items of the run.
        all: usize,
    },
    /// Artifacts of an item are about to be downloaded.
    Planned {
        /// How many.
        files: usize,
        /// Their length, as far as it is stated.
        bytes: u64,
    },
    /// How far all files are together: at most ten times a second, and at the end.
    Progress(Totals),
    /// How far one file is: at most ten times a second, and when it has ended.
    File(FileEvent),
}

/// How far one file is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileEvent {
    /// The item, as its submitter named it.
    pub item: String,
    /// The artifact, as the application named it.
    pub artifact: String,
    /// The artifact, as the platform named it.
    pub artifact_id: ArtifactId,
    /// Where the file will be, relative to the folder, with `/` between folders.
    pub file: String,
    /// Its length, if that is known.
    pub bytes: Option<u64>,
    /// How far it is.
    pub progress: FileProgress,
}

/// How far one file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileProgress {
    /// The bytes that have come in this call.
    pub received: u64,
    /// The bytes that stay, whatever becomes of this process; with those of earlier calls.
    pub durable: u64,
    /// What is being done, or was.
    pub step: FileStep,
}

/// What is being done with one file, or was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileStep {
    /// It is looked at, or fetched.
    #[default]
    Fetching,
    /// It is in its place, and was compared with that.
    InPlace(Verification),
    /// It could not be had.
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

/// What became of a run.
#[derive(Debug)]
#[non_exhaustive]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// Why it ended.
    pub termination_reason: Option<RunTerminationReason>,
    /// How many items it has, as the platform says.
    pub item_count: usize,
    /// How many of those that have ended are in another share of the work, or were not selected.
    pub left_out: usize,
    /// The others, in the order in which they ended.
    pub items: Vec<ItemReport>,
    /// Where the manifest of the folder is, or why it could not be written. The files are in their
    /// place all the same.
    pub manifest: Result<PathBuf, FolderError>,
}

/// The number of result files that the platform has deleted and that are not in the folder, by who deleted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeletedFiles {
    /// Files that a user deleted.
    pub by_user: usize,
    /// Files whose retention has ended ([`RESULTS_STAY`](crate::RESULTS_STAY)).
    pub by_retention: usize,
}

/// What became of an item.
#[derive(Debug)]
#[non_exhaustive]
pub struct ItemReport {
    /// The name that its submitter gave it.
    pub external_id: String,
    /// How it ended.
    pub outcome: ItemOutcome,
    /// What the platform says about a failure.
    pub message: Option<String>,
    /// The checksums of its inputs, as the submitter stated them, by name.
    pub inputs: BTreeMap<String, String>,
    /// Its artifacts.
    pub artifacts: Vec<ArtifactReport>,
}

/// What became of an artifact.
#[derive(Debug)]
#[non_exhaustive]
pub struct ArtifactReport {
    /// The name that the application gave it.
    pub name: String,
    /// Where its file is, or would be, relative to the folder, with `/` between folders.
    pub file: String,
    /// How its file came to be in its place, or why it is not there.
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

    /// Why artifacts are not in their place, one reason for each.
    pub fn failures(&self) -> impl Iterator<Item = &(dyn Error + Send + Sync + 'static)> {
        let artifacts = self.items.iter().flat_map(|item| &item.artifacts);
        artifacts.filter_map(|artifact| artifact.outcome.as_ref().err()).map(AsRef::as_ref)
    }

    /// Returns how many files are missing because the platform has deleted them.
    pub fn deleted(&self) -> DeletedFiles {
        let mut deleted = DeletedFiles::default();
        for artifact in self.items.iter().flat_map(|item| &item.artifacts) {
            match artifact.deleted_by() {
                Some(By::User) => deleted.by_user += 1,
                Some(By::System) => deleted.by_retention += 1,
                None => {}
            }
        }
        deleted
    }

    /// The run processed all of its items, every one that was not left out succeeded, and every artifact of those and the
    /// manifest are in their place.
    pub fn is_complete(&self) -> bool {
        self.termination_reason == Some(RunTerminationReason::AllItemsProcessed)
            && self.items.len() + self.left_out == self.item_count
            && self.items.iter().all(|item| item.outcome == ItemOutcome::Succeeded)
            && self.failures().next().is_none()
            && self.manifest.is_ok()
    }
}

impl RunReport {
    /// Every artifact that is in its place has the checksum that the platform stated for it.
    pub fn is_verified(&self) -> bool {
        let outcomes =
            self.items.iter().flat_map(|item| &item.artifacts).filter_map(|artifact| artifact.outcome.as_ref().ok());
        outcomes.map(|outcome| outcome.verification).all(|verification| verification == Verification::Stated)
    }
}

impl ArtifactReport {
    /// Returns who deleted the file, if that is why it is not in its place. The platform deletes files whose retention has ended.
    pub fn deleted_by(&self) -> Option<By> {
        let error: &(dyn Error + 'static) = &**self.outcome.as_ref().err()?;
        let mut causes = std::iter::successors(Some(error), |&error| error.source());
        causes.find_map(|cause| cause.downcast_ref::<DeletedFile>()).map(|deleted| deleted.by)
    }
}

impl DeletedFiles {
    /// Returns the number of all deleted files.
    pub fn count(self) -> usize {
        self.by_user + self.by_retention
    }
}

impl ItemReport {
    /// The length of all files that are in their place.
    pub fn bytes(&self) -> u64 {
        let outcomes = self.artifacts.iter().filter_map(|artifact| artifact.outcome.as_ref().ok());
        outcomes.map(|outcome| outcome.bytes).sum()
    }
}
