//! The runs whose results are already in a folder or a store.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use futures_util::TryStreamExt;
use platform_download::recorded_origins;
use platform_resources::models::{Run, RunId, RunOutput, RunState};
use platform_resources::{ArtifactOutcome, Client, ItemOutcome, Store, StoreAddress, stored_origins};
use tokio::sync::OnceCell;

use super::cause::concerns_other_requests;
use super::state::SyncState;
use super::state_file;
use crate::error::Error;

/// The numbers of recorded files of a run, by item and artifact.
type Files = HashMap<(String, String), usize>;

/// The runs whose results [`RunSync`](crate::RunSync) need not download: the runs in the state of the folder, and the
/// runs whose results are all in its manifests, because `run download` downloaded them or the state was lost.
///
/// Results that were deleted from the folder are not downloaded again, because the manifest still lists them.
/// `run verify` reports them.
#[derive(Debug)]
pub struct LocalRuns {
    pub(super) state: SyncState,
    recorded: Recorded,
    selected: OnceLock<HashSet<String>>,
}

/// The files in the manifests.
#[derive(Debug)]
enum Recorded {
    /// Those of all unsettled runs, read on demand.
    Folder(PathBuf, OnceCell<HashMap<String, Files>>),
    /// Each run has a manifest.
    Store(Store, StoreAddress),
}

impl LocalRuns {
    /// Reads the state of a folder without locking it. The folder may not exist.
    ///
    /// # Errors
    ///
    /// The state of the folder cannot be read.
    pub fn of(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref().to_owned();
        let state = SyncState::of(state_file::read(&folder)?.as_deref());
        Ok(Self { state, recorded: Recorded::Folder(folder, OnceCell::new()), selected: OnceLock::new() })
    }

    pub(super) fn in_store(store: Store, address: StoreAddress, state: SyncState) -> Self {
        Self { state, recorded: Recorded::Store(store, address), selected: OnceLock::new() }
    }

    /// Returns true if [`RunSync`](crate::RunSync) would fetch a run: it has finished with results that are not local, or that
    /// cannot be compared with the local ones because the requests for this run fail.
    ///
    /// # Errors
    ///
    /// Those of [`has`](Self::has) that can concern other runs, too.
    pub async fn lacks(&self, client: &Client, run: &Run) -> Result<bool, Error> {
        if !self.is_unsettled(run) || self.state.is_expired(run) {
            return Ok(false);
        }
        match self.has(client, run).await {
            Err(error) if error.platform().is_some_and(|error| !concerns_other_requests(error)) => Ok(true),
            has => Ok(!has?),
        }
    }

    /// Returns true if all results of a run were downloaded or are lost. If the run is only in the manifests, its items
    /// are requested to determine whether the manifests list all of its results.
    ///
    /// # Errors
    ///
    /// The request for the items failed, or a manifest cannot be read.
    pub async fn has(&self, client: &Client, run: &Run) -> Result<bool, Error> {
        if self.state.is_settled(&run.run_id) || self.state.is_expired(run) {
            return Ok(true);
        }
        if self.state.pending_run(&run.run_id).is_some_and(|pending| !pending.is_recorded) {
            return Ok(false);
        }
        let mut missing = self.recorded(run).await?;
        if missing.is_empty() {
            return Ok(false);
        }
        let mut items = client.run(run.run_id.clone()).no_cache().items();
        let mut count = 0;
        while let Some(item) = items.try_next().await? {
            count += 1;
            if ItemOutcome::of(&item) == ItemOutcome::InProgress {
                return Ok(false);
            }
            for artifact in &item.output_artifacts {
                match ArtifactOutcome::of(artifact) {
                    ArtifactOutcome::NotMade | ArtifactOutcome::Failed(_) => continue,
                    ArtifactOutcome::Available | ArtifactOutcome::Deleted(_) => {}
                    _ => return Ok(false),
                }
                // Artifacts of one item can have the same name.
                match missing.get_mut(&(item.external_id.clone(), artifact.name.clone())) {
                    Some(count) if *count > 0 => *count -= 1,
                    _ => return Ok(false),
                }
            }
        }
        // A replica may not have all items yet.
        Ok(count >= run.statistics.item_count)
    }

    /// Returns true if a run has results or had some when it was found, and its entry is not that of a settled run. An expired
    /// run has none.
    pub(super) fn is_unsettled(&self, run: &Run) -> bool {
        let has_results = run.state == RunState::Terminated && run.output != RunOutput::None;
        let is_pending = || self.state.pending_run(&run.run_id).is_some();
        !self.state.is_settled(&run.run_id) && (has_results || is_pending())
    }

    /// Returns true if files of a run are in a manifest, and only its items can show if they are all. An attempt to fetch a
    /// pending run has failed, so that it is not recorded.
    pub(super) async fn is_recorded(&self, run: &Run) -> Result<bool, Error> {
        match self.state.pending_run(&run.run_id) {
            Some(pending) => Ok(pending.is_recorded),
            None => Ok(!self.recorded(run).await?.is_empty()),
        }
    }

    /// Returns the files of an unsettled run in the manifests.
    async fn recorded(&self, run: &Run) -> Result<Files, Error> {
        match &self.recorded {
            Recorded::Folder(folder, files) => {
                let read = || self.recorded_in(folder);
                Ok(files.get_or_try_init(read).await?.get(run.run_id.as_str()).cloned().unwrap_or_default())
            }
            Recorded::Store(store, address) => {
                let mut files = Files::new();
                for origin in stored_origins(store, address, &run.run_id).await? {
                    *files.entry((origin.item, origin.artifact)).or_default() += 1;
                }
                Ok(files)
            }
        }
    }

    /// Sets the only runs whose files are looked for in the manifests of a folder, which can have those of very many others.
    pub(super) fn select<'a>(&self, runs: impl Iterator<Item = &'a RunId>) {
        self.selected.get_or_init(|| runs.map(|run| run.as_str().to_owned()).collect());
    }

    async fn recorded_in(&self, folder: &Path) -> Result<HashMap<String, Files>, Error> {
        let settled: HashSet<_> = self.state.settled().map(|run| run.as_str().to_owned()).collect();
        let selected = self.selected.get().cloned();
        let selects = move |run: &str| !settled.contains(run) && selected.as_ref().is_none_or(|of| of.contains(run));
        let mut runs: HashMap<String, Files> = HashMap::new();
        for origin in recorded_origins(folder, selects).await? {
            *runs.entry(origin.run).or_default().entry((origin.item, origin.artifact)).or_default() += 1;
        }
        Ok(runs)
    }
}
