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
/// runs whose results are all listed in its manifests. The latter were downloaded by `run download`, or the state was
/// lost.
///
/// Results that were deleted from the folder are not downloaded again, because the manifest still lists them.
/// `run verify` reports them.
#[derive(Debug)]
pub struct LocalRuns {
    pub(super) state: SyncState,
    manifests: Manifests,
    /// The only runs whose files are read from the manifests of a folder; all unsettled runs if it is not set.
    selected_runs: OnceLock<HashSet<String>>,
}

/// The location of the manifests.
#[derive(Debug)]
enum Manifests {
    /// The manifests of a folder. The files of all unsettled runs are read on demand.
    Folder(PathBuf, OnceCell<HashMap<String, Files>>),
    /// A store, with a manifest for each run.
    Store(Store, StoreAddress),
}

impl LocalRuns {
    /// Reads the state of a folder without locking the folder. A missing folder has no runs.
    ///
    /// # Errors
    ///
    /// The state of the folder cannot be read.
    pub fn of(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref().to_owned();
        let state = SyncState::parse(state_file::read(&folder)?.as_deref());
        Ok(Self { state, manifests: Manifests::Folder(folder, OnceCell::new()), selected_runs: OnceLock::new() })
    }

    pub(super) fn in_store(store: Store, address: StoreAddress, state: SyncState) -> Self {
        Self { state, manifests: Manifests::Store(store, address), selected_runs: OnceLock::new() }
    }

    /// Returns true if [`RunSync`](crate::RunSync) would fetch a run: some of its results are not local, or the
    /// requests for the run fail, so that its results cannot be compared with the local files.
    ///
    /// # Errors
    ///
    /// The errors of [`has`](Self::has) that can also concern other runs.
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
        let mut unmatched_files = self.recorded_files(run).await?;
        if unmatched_files.is_empty() {
            return Ok(false);
        }
        let mut items = client.run(run.run_id.clone()).no_cache().items();
        let mut item_count = 0;
        while let Some(item) = items.try_next().await? {
            item_count += 1;
            if ItemOutcome::of(&item) == ItemOutcome::InProgress {
                return Ok(false);
            }
            for artifact in &item.output_artifacts {
                match ArtifactOutcome::of(artifact) {
                    ArtifactOutcome::NotCreated | ArtifactOutcome::Failed(_) => continue,
                    ArtifactOutcome::Available | ArtifactOutcome::Deleted(_) => {}
                    _ => return Ok(false),
                }
                // Artifacts of one item can have the same name.
                match unmatched_files.get_mut(&(item.external_id.clone(), artifact.name.clone())) {
                    Some(count) if *count > 0 => *count -= 1,
                    _ => return Ok(false),
                }
            }
        }
        // The response may come from a replica that does not have all items yet.
        Ok(item_count >= run.statistics.item_count)
    }

    /// Returns true if a run has results, or had results when it was found, and is neither complete nor lost. Returns
    /// true also for an expired run, which has no entry in the state.
    pub(super) fn is_unsettled(&self, run: &Run) -> bool {
        let has_results = run.state == RunState::Terminated && run.output != RunOutput::None;
        let is_pending = || self.state.pending_run(&run.run_id).is_some();
        !self.state.is_settled(&run.run_id) && (has_results || is_pending())
    }

    /// Returns true if a manifest lists files of a run, and its items must be requested to decide whether the list is
    /// complete. For a pending run, the state contains the result, which is false after a failed fetch.
    pub(super) async fn is_recorded(&self, run: &Run) -> Result<bool, Error> {
        match self.state.pending_run(&run.run_id) {
            Some(pending) => Ok(pending.is_recorded),
            None => Ok(!self.recorded_files(run).await?.is_empty()),
        }
    }

    /// Returns the files of an unsettled run that the manifests list.
    async fn recorded_files(&self, run: &Run) -> Result<Files, Error> {
        match &self.manifests {
            Manifests::Folder(folder, files) => {
                let read = || self.recorded_files_of_all(folder);
                Ok(files.get_or_try_init(read).await?.get(run.run_id.as_str()).cloned().unwrap_or_default())
            }
            Manifests::Store(store, address) => {
                let mut files = Files::new();
                for origin in stored_origins(store, address, &run.run_id).await? {
                    *files.entry((origin.item, origin.artifact)).or_default() += 1;
                }
                Ok(files)
            }
        }
    }

    /// Restricts the search in the manifests of a folder to these runs, because the manifests can list very many other
    /// runs.
    pub(super) fn select<'a>(&self, runs: impl Iterator<Item = &'a RunId>) {
        self.selected_runs.get_or_init(|| runs.map(|run| run.as_str().to_owned()).collect());
    }

    async fn recorded_files_of_all(&self, folder: &Path) -> Result<HashMap<String, Files>, Error> {
        let settled: HashSet<_> = self.state.settled_runs().map(|run| run.as_str().to_owned()).collect();
        let selected = self.selected_runs.get().cloned();
        let is_selected =
            move |run: &str| !settled.contains(run) && selected.as_ref().is_none_or(|runs| runs.contains(run));
        let mut runs: HashMap<String, Files> = HashMap::new();
        for origin in recorded_origins(folder, is_selected).await? {
            *runs.entry(origin.run).or_default().entry((origin.item, origin.artifact)).or_default() += 1;
        }
        Ok(runs)
    }
}
