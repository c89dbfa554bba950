//! The state of a synchronized folder or store: `.aignostics/sync.json`.
//!
//! It contains no results and no local paths. If it is lost or cannot be read, it is rebuilt from the manifests and from
//! the list of runs.
//!
//! Its size is bounded by the runs that have ended within [`KEPT`]: entries of earlier runs, whose results the platform has
//! deleted, and those of selections without a full list since then are removed ([`SyncState::expire`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use platform_resources::models::{Run, RunId};
use platform_resources::{RESULTS_RETENTION, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The version of the file format.
const VERSION: u32 = 2;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The age of the end of a run after which its entry is removed: twice the retention of results, and two days more, so that
/// no list of runs that can have results contains it.
pub(super) const KEPT: Duration = Duration::from_secs(2 * RESULTS_RETENTION.as_secs() + 2 * DAY.as_secs());

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
    /// The runs for which nothing is left to do, by the day of their end: days since 1970-01-01 (UTC).
    settled: BTreeMap<u64, SettledRuns>,
    /// The day from which the settled runs are kept. Nothing is left to do for runs that ended before.
    since: u64,
    /// Runs that are not complete yet.
    pending: BTreeMap<RunId, PendingRun>,
}

#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
struct SettledRuns {
    /// Runs whose results were downloaded.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    complete: BTreeSet<RunId>,
    /// Runs with results that were deleted before they were downloaded. They were reported.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    lost: BTreeSet<RunId>,
}

/// Returns the day of a time.
fn day(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY.as_secs()
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
        self.content.settled.values().flat_map(|of| of.complete.iter().chain(&of.lost))
    }

    /// Returns true if the results of the run are complete or lost.
    pub(super) fn is_settled(&self, run: &RunId) -> bool {
        self.content.settled.values().any(|of| of.complete.contains(run) || of.lost.contains(run))
    }

    /// Returns true if a run ended so long ago that its entry was removed. Its results were deleted.
    pub(super) fn is_expired(&self, run: &Run) -> bool {
        let end = run.terminated_at.filter(|_| self.pending_run(&run.run_id).is_none());
        end.is_some_and(|end| day(end.into()) < self.content.since)
    }

    /// Removes the entries of runs that ended long before `now`, and those of queries without a full list since then.
    pub(super) fn expire(&mut self, now: SystemTime) {
        let since = now.checked_sub(KEPT).map_or(0, day);
        let kept = self.content.settled.split_off(&since);
        let expired = std::mem::replace(&mut self.content.settled, kept);
        if !expired.is_empty() {
            self.is_changed = true;
            self.content.since = self.content.since.max(since);
        }
        let lists = self.content.lists.len();
        self.content.lists.retain(|_, list| day(list.full_at.into()) >= since);
        if self.content.lists.len() < lists {
            self.is_changed = true;
            let Content { lists, pending, .. } = &mut self.content;
            for run in pending.values_mut() {
                run.queries.retain(|query| lists.contains_key(query));
            }
            pending.retain(|_, run| !run.queries.is_empty());
        }
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
    pub(super) fn complete(&mut self, run: &Run, now: SystemTime) {
        let is_new = self.settled_at(run, now).complete.insert(run.run_id.clone());
        self.is_changed |= self.content.pending.remove(&run.run_id).is_some() | is_new;
    }

    /// Records that results of a run are lost.
    pub(super) fn lost(&mut self, run: &Run, now: SystemTime) {
        let is_new = self.settled_at(run, now).lost.insert(run.run_id.clone());
        self.is_changed |= self.content.pending.remove(&run.run_id).is_some() | is_new;
    }

    /// Returns the settled runs of the day on which a run ended. A run without an end, or with one in the future, belongs to
    /// the current day.
    fn settled_at(&mut self, run: &Run, now: SystemTime) -> &mut SettledRuns {
        let end = run.terminated_at.map(SystemTime::from).filter(|end| *end < now);
        self.content.settled.entry(day(end.unwrap_or(now))).or_default()
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
        let run = |id: &str| run(id, Some("2026-11-25T08:00:00Z"));
        state.complete(&run("a"), now());
        state.lost(&run("b"), now());
        assert!(state.is_changed());
        let state = read_again(&state);
        assert!(state.is_settled(&"a".into()) && state.is_settled(&"b".into()) && !state.is_settled(&"c".into()));
        assert_eq!((state.list("query"), state.list("other")), (Some(listed), None));
        for lost in ["", "{", "[]", r#"{"version":1,"lists":{},"complete":["a"],"lost":[],"pending":{}}"#] {
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

    fn now() -> SystemTime {
        moment("2026-11-26T12:00:00Z").into()
    }

    /// Returns the time this number of days after [`now`].
    fn after(days: u32) -> SystemTime {
        now() + days * DAY
    }

    #[test]
    fn size_is_bounded_by_the_runs_of_the_last_months() {
        const RUNS_PER_DAY: u32 = 20;
        let kept = usize::try_from(KEPT.as_secs() / DAY.as_secs()).unwrap() + 1;
        let mut state = SyncState::of(None);
        let (mut largest, mut previous) = (0, 0);
        for today in 0..400 {
            state.expire(after(today));
            let end = Timestamp::try_from(after(today)).unwrap().to_string();
            for number in 0..RUNS_PER_DAY {
                let run = run(&format!("00000000-0000-4000-8000-{today:06}{number:06}"), Some(&end));
                state.found("cron", [&run].into_iter(), false);
                if number == 0 { state.lost(&run, after(today)) } else { state.complete(&run, after(today)) }
            }
            state.listed("cron", Some(list(&end)));
            let bytes = state.bytes().unwrap().len();
            (largest, previous) = if today < 100 { (largest.max(bytes), bytes) } else { (largest, bytes) };
        }
        assert!(previous <= largest, "{previous} bytes after 400 days, and {largest} after 100");
        assert!(previous <= kept * (45 * RUNS_PER_DAY as usize + 60) + 300, "{previous} bytes");
        assert_eq!(state.settled().count(), kept * RUNS_PER_DAY as usize);
    }

    #[test]
    fn removed_entries_stay_settled_unless_their_run_is_pending() {
        let (old, new) = (run("old", Some("2026-11-20T08:00:00Z")), run("new", Some("2026-11-26T08:00:00Z")));
        let mut state = SyncState::of(None);
        state.complete(&old, now());
        state.lost(&new, now());
        let last = after(55);
        state.expire(last);
        assert!(state.is_settled(&"old".into()) && !state.is_expired(&old), "its results may exist");
        state.saved();
        state.expire(after(58));
        assert!(state.is_changed());
        let mut state = read_again(&state);
        assert!(!state.is_settled(&"old".into()) && state.is_expired(&old), "it is not fetched again");
        assert!(state.is_settled(&"new".into()) && !state.is_expired(&new));
        state.found("query", [&old].into_iter(), false);
        assert!(!state.is_expired(&old), "an attempt has failed");
        state.saved();
        state.expire(after(58));
        assert!(!state.is_changed(), "nothing to write");
    }

    #[test]
    fn queries_that_are_no_longer_used_are_removed_with_their_pending_runs() {
        let found = run("a", Some("2026-11-25T08:00:00Z"));
        let mut state = SyncState::of(None);
        for query in ["cron", "once"] {
            state.listed(query, Some(list("2026-11-25T08:00:00Z")));
            state.found(query, [&found].into_iter(), false);
        }
        state.found("once", [&run("b", Some("2026-11-25T08:00:00Z"))].into_iter(), false);
        state.listed("cron", Some(list("2027-01-25T08:00:00Z")));
        state.expire(after(70));
        assert!(state.list("once").is_none() && state.list("cron").is_some() && state.is_changed());
        assert!(state.pending_run(&"b".into()).is_none());
        assert_eq!(state.pending_run(&"a".into()).unwrap().queries, BTreeSet::from(["cron".to_owned()]));
    }
}
