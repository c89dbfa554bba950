//! The state of a synchronized folder or store: `.aignostics/sync.json`.
//!
//! It contains no results and no local paths. If it is lost or cannot be read, it is rebuilt from the manifests and from
//! the list of runs.

use std::collections::{BTreeMap, BTreeSet};

use platform_resources::Timestamp;
use platform_resources::models::{Run, RunId};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The version of the file format.
const VERSION: u32 = 1;

/// The state of a synchronized folder or store. It is protected by its lock.
#[derive(Debug)]
pub(super) struct SyncState {
    content: Content,
    is_changed: bool,
}

#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
struct Content {
    version: u32,
    /// The last lists of each query.
    lists: BTreeMap<String, Listed>,
    /// Runs whose results were downloaded.
    complete: BTreeSet<RunId>,
    /// Runs with results that were deleted before they were downloaded. They were reported.
    lost: BTreeSet<RunId>,
    /// Runs that are not complete yet.
    pending: BTreeMap<RunId, PendingRun>,
}

/// The last lists of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Listed {
    /// The latest end of a run, or the time of the list if that is earlier.
    pub(super) mark: Timestamp,
    /// The time of a list that contained the mark.
    pub(super) at: Timestamp,
    /// The time of the last list of all runs that can have results.
    pub(super) full_at: Timestamp,
}

/// A run that is not complete yet.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct PendingRun {
    /// The queries that found it.
    pub(super) queries: BTreeSet<String>,
    /// Its end, if the platform states it.
    pub(super) terminated_at: Option<Timestamp>,
    /// It has files in a manifest, and its items were not compared with them yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_recorded: bool,
}

impl SyncState {
    /// Parses a state. If it is missing or invalid, returns an empty state.
    pub(super) fn of(bytes: Option<&[u8]>) -> Self {
        let content = bytes.and_then(|bytes| serde_json::from_slice(bytes).ok());
        let content = content.filter(|content: &Content| content.version == VERSION);
        let content = content.unwrap_or_else(|| Content { version: VERSION, ..Content::default() });
        Self { content, is_changed: false }
    }

    /// Returns the last lists of the query.
    pub(super) fn list(&self, query: &str) -> Option<Listed> {
        self.content.lists.get(query).copied()
    }

    /// Returns the runs for which nothing is left to do.
    pub(super) fn settled(&self) -> impl Iterator<Item = &RunId> {
        self.content.complete.iter().chain(&self.content.lost)
    }

    /// Returns true if the results of the run are complete or lost.
    pub(super) fn is_settled(&self, run: &RunId) -> bool {
        self.content.complete.contains(run) || self.content.lost.contains(run)
    }

    /// Returns the runs of a query that are not complete yet.
    pub(super) fn pending<'a>(&'a self, query: &'a str) -> impl Iterator<Item = (&'a RunId, &'a PendingRun)> {
        self.content.pending.iter().filter(move |(_, pending)| pending.queries.contains(query))
    }

    /// Returns the run, if it was found before and is not complete yet.
    pub(super) fn pending_run(&self, run: &RunId) -> Option<&PendingRun> {
        self.content.pending.get(run)
    }

    /// Records the last lists of a query.
    pub(super) fn listed(&mut self, query: &str, list: Option<Listed>) {
        if let Some(list) = list {
            self.is_changed |= self.content.lists.insert(query.to_owned(), list) != Some(list);
        }
    }

    /// Records runs that a query has found and that are not complete. Those of other queries remain theirs, too.
    /// `is_recorded`: they have files in a manifest, and were not compared with it.
    pub(super) fn found<'a>(&mut self, query: &str, runs: impl Iterator<Item = &'a Run>, is_recorded: bool) {
        for run in runs {
            let known = self.content.pending.get(&run.run_id);
            let mut queries = known.map(|known| known.queries.clone()).unwrap_or_default();
            queries.insert(query.to_owned());
            let pending = PendingRun { queries, terminated_at: run.terminated_at, is_recorded };
            self.is_changed |= self.content.pending.insert(run.run_id.clone(), pending.clone()) != Some(pending);
        }
    }

    /// Records that a run does not exist for the user of a query.
    pub(super) fn gone(&mut self, query: &str, run: &RunId) {
        if let Some(pending) = self.content.pending.get_mut(run) {
            self.is_changed |= pending.queries.remove(query);
            if pending.queries.is_empty() {
                self.content.pending.remove(run);
            }
        }
    }

    /// Records that the results of a run are in the folder.
    pub(super) fn complete(&mut self, run: &RunId) {
        self.is_changed |= self.content.pending.remove(run).is_some() | self.content.complete.insert(run.clone());
    }

    /// Records that results of a run are lost.
    pub(super) fn lost(&mut self, run: &RunId) {
        self.is_changed |= self.content.pending.remove(run).is_some() | self.content.lost.insert(run.clone());
    }

    /// Returns true if the state differs from the stored one.
    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Returns the content to store.
    ///
    /// # Errors
    ///
    /// It cannot be serialized.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(&self.content).map_err(|error| Error::io("the state is not JSON", error.into()))
    }

    /// Records that the state was stored.
    pub(super) fn saved(&mut self) {
        self.is_changed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{list, moment, run};
    use super::*;

    fn read_again(state: &SyncState) -> SyncState {
        SyncState::of(Some(&state.bytes().unwrap()))
    }

    #[test]
    fn state_survives_a_process_and_garbage_is_a_lost_state() {
        let listed = list("2026-11-25T08:00:00Z");
        let mut state = SyncState::of(None);
        assert!(!state.is_changed(), "nothing to record");
        state.listed("query", Some(listed));
        state.listed("query", None);
        state.complete(&"a".into());
        state.lost(&"b".into());
        assert!(state.is_changed());
        let state = read_again(&state);
        assert!(state.is_settled(&"a".into()) && state.is_settled(&"b".into()) && !state.is_settled(&"c".into()));
        assert_eq!((state.list("query"), state.list("other")), (Some(listed), None));
        for lost in ["", "{", "[]", r#"{"version":2,"lists":{},"complete":["a"],"lost":[],"pending":{}}"#] {
            let state = SyncState::of(Some(lost.as_bytes()));
            assert!(!state.is_settled(&"a".into()) && state.list("query").is_none(), "{lost}");
        }
    }

    #[test]
    fn pending_run_belongs_to_each_query_that_found_it() {
        let found = run("a", Some("2026-11-25T08:00:00Z"));
        let mut state = SyncState::of(None);
        state.found("cron", [&found].into_iter(), false);
        state.found("tags", [&found].into_iter(), false);
        let mut state = read_again(&state);
        let of = |state: &SyncState, query| state.pending(query).map(|(run, _)| run.to_string()).collect::<Vec<_>>();
        assert_eq!(
            (of(&state, "cron"), of(&state, "tags"), of(&state, "x")),
            (vec!["a".into()], vec!["a".into()], vec![])
        );
        state.gone("tags", &"a".into());
        assert_eq!((of(&state, "cron").len(), of(&state, "tags").len()), (1, 0));
        assert!(state.is_changed() && !state.is_settled(&"a".into()), "it is not lost for others");
        state.gone("cron", &"a".into());
        assert!(state.pending_run(&"a".into()).is_none() && !state.is_settled(&"a".into()));
        assert_eq!(found.terminated_at, Some(moment("2026-11-25T08:00:00Z")));
    }
}
