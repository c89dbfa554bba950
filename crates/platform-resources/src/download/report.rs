use std::error::Error;
use std::path::PathBuf;

use platform_api::models::{Item, Run, RunId, RunTerminationReason};
use platform_download::{FolderError, Outcome};

use crate::ItemOutcome;

/// What happens while a run is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// This many bytes have come, or were there already.
    Received(u64),
    /// A file is in its place.
    Verified,
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
    /// Its items, in the order in which they ended.
    pub items: Vec<ItemReport>,
    /// Where the manifest of the folder is, or why it could not be written. The files are in their
    /// place all the same.
    pub manifest: Result<PathBuf, FolderError>,
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
    /// Its artifacts.
    pub artifacts: Vec<ArtifactReport>,
}

/// What became of an artifact.
#[derive(Debug)]
#[non_exhaustive]
pub struct ArtifactReport {
    /// The name that the application gave it.
    pub name: String,
    /// How its file came to be in its place, or why it is not there.
    pub outcome: Result<Outcome, Box<dyn Error + Send + Sync>>,
}

impl RunReport {
    pub(super) fn new(run: &RunId) -> Self {
        let manifest = Ok(PathBuf::new());
        Self { run: run.clone(), termination_reason: None, item_count: 0, items: Vec::new(), manifest }
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

    /// The run processed all of its items, every one succeeded, and every artifact and the manifest
    /// are in their place.
    pub fn is_complete(&self) -> bool {
        self.termination_reason == Some(RunTerminationReason::AllItemsProcessed)
            && self.items.len() == self.item_count
            && self.items.iter().all(|item| item.outcome == ItemOutcome::Succeeded)
            && self.failures().next().is_none()
            && self.manifest.is_ok()
    }
}

impl ItemReport {
    pub(super) fn of(item: &Item) -> Self {
        Self {
            external_id: item.external_id.clone(),
            outcome: ItemOutcome::of(item),
            message: item.error_message.clone(),
            artifacts: Vec::new(),
        }
    }

    /// The length of all files that are in their place.
    pub fn bytes(&self) -> u64 {
        let outcomes = self.artifacts.iter().filter_map(|artifact| artifact.outcome.as_ref().ok());
        outcomes.map(|outcome| outcome.bytes()).sum()
    }
}
