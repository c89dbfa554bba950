use std::error::Error;
use std::path::PathBuf;

use platform_api::models::{Item, RunId};
use platform_download::Outcome;

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
    /// Its items, in the order in which they ended.
    pub items: Vec<ItemReport>,
    /// The manifest of the folder.
    pub manifest: PathBuf,
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
        Self { run: run.clone(), items: Vec::new(), manifest: PathBuf::new() }
    }

    /// Why artifacts are not in their place, one reason for each.
    pub fn failures(&self) -> impl Iterator<Item = &(dyn Error + Send + Sync + 'static)> {
        let artifacts = self.items.iter().flat_map(|item| &item.artifacts);
        artifacts.filter_map(|artifact| artifact.outcome.as_ref().err()).map(AsRef::as_ref)
    }

    /// Every item succeeded, and every artifact is in its place.
    pub fn is_complete(&self) -> bool {
        self.items.iter().all(|item| item.outcome == ItemOutcome::Succeeded) && self.failures().next().is_none()
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
