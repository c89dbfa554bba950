//! The state of a synchronized folder or store: `.aignostics/sync.json`.
//!
//! It contains no results and no local paths. If it is lost or cannot be read, it is rebuilt from the manifests and
//! from the list of runs.
//!
//! Its size is limited, because [`SyncState::expire`] removes the entries of runs that ended before the last
//! [`RETENTION`], whose results the platform has deleted. It also removes queries without a full list in this time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use platform_resources::models::{Run, RunId};
use platform_resources::{RESULTS_RETENTION, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The version of the file format.
const VERSION: u32 = 2;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The time after the end of a run for which its entry is kept: twice the retention of results and two days. After this
/// time, no list of runs with results contains the run.
pub(super) const RETENTION: Duration = Duration::from_secs(2 * RESULTS_RETENTION.as_secs() + 2 * DAY.as_secs());

/// The state of a synchronized folder or store. The lock of the folder or store protects it.
#[derive(Debug)]
pub(super) struct SyncState {
    content: Content,
    is_changed: bool,
}

#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
struct Content {
    version: u32,
    /// The marks of each query.
    lists: BTreeMap<String, ListMarks>,
    /// The runs that are complete or lost, by the day of their end, in days since 1970-01-01 (UTC).
    settled: BTreeMap<u64, SettledRuns>,
    /// The first day whose settled runs are kept. Runs that ended earlier are expired.
    since: u64,
    /// Runs that are not complete yet.
    pending: BTreeMap<RunId, PendingRun>,
}

#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
struct SettledRuns {
    /// Runs whose results were downloaded.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    complete: BTreeSet<RunId>,
    /// Runs with results that were deleted before they were downloaded. These runs were already reported.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    lost: BTreeSet<RunId>,
}

/// Returns the number of days from 1970-01-01 to a time.
fn day(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY.as_secs()
}

/// The marks of a query after its last list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct ListMarks {
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
    /// The end of the run, if the platform returns it.
    pub(super) terminated_at: Option<Timestamp>,
    /// True if a manifest lists files of the run, and its items were not compared with the manifest yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_recorded: bool,
}

impl SyncState {
    /// Parses a state. If it is missing or invalid, returns an empty state.
    pub(super) fn parse(bytes: Option<&[u8]>) -> Self {
        let content = bytes.and_then(|bytes| serde_json::from_slice(bytes).ok());
        let content = content.filter(|content: &Content| content.version == VERSION);
        let content = content.unwrap_or_else(|| Content { version: VERSION, ..Content::default() });
        Self { content, is_changed: false }
    }

    /// Returns the marks of the query after its last list.
    pub(super) fn marks(&self, query: &str) -> Option<ListMarks> {
        self.content.lists.get(query).copied()
    }

    /// Returns the runs that are complete or lost.
    pub(super) fn settled_runs(&self) -> impl Iterator<Item = &RunId> {
        self.content.settled.values().flat_map(|runs| runs.complete.iter().chain(&runs.lost))
    }

    /// Returns true if the results of the run are complete or lost.
    pub(super) fn is_settled(&self, run: &RunId) -> bool {
        self.content.settled.values().any(|runs| runs.complete.contains(run) || runs.lost.contains(run))
    }

    /// Returns true if a run ended so long ago that its entry was removed. The platform has deleted its results.
    pub(super) fn is_expired(&self, run: &Run) -> bool {
        let end = run.terminated_at.filter(|_| self.pending_run(&run.run_id).is_none());
        end.is_some_and(|end| day(end.into()) < self.content.since)
    }

    /// Removes the entries of runs that ended long before `now`, and the queries without a full list since then.
    pub(super) fn expire(&mut self, now: SystemTime) {
        let since = now.checked_sub(RETENTION).map_or(0, day);
        let kept_runs = self.content.settled.split_off(&since);
        let expired_runs = std::mem::replace(&mut self.content.settled, kept_runs);
        if !expired_runs.is_empty() {
            self.is_changed = true;
            self.content.since = self.content.since.max(since);
        }
        let list_count = self.content.lists.len();
        self.content.lists.retain(|_, list| day(list.full_at.into()) >= since);
        if self.content.lists.len() < list_count {
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

    /// Records the marks of a query.
    pub(super) fn record_marks(&mut self, query: &str, marks: Option<ListMarks>) {
        if let Some(marks) = marks {
            self.is_changed |= self.content.lists.insert(query.to_owned(), marks) != Some(marks);
        }
    }

    /// Records runs that a query has found and that are not complete. A run can belong to several queries.
    /// `is_recorded` means that a manifest lists files of the runs, and that their items were not compared with it.
    pub(super) fn record_pending<'a>(&mut self, query: &str, runs: impl Iterator<Item = &'a Run>, is_recorded: bool) {
        for run in runs {
            let previous = self.content.pending.get(&run.run_id);
            let mut queries = previous.map(|previous| previous.queries.clone()).unwrap_or_default();
            queries.insert(query.to_owned());
            let pending = PendingRun { queries, terminated_at: run.terminated_at, is_recorded };
            self.is_changed |= self.content.pending.insert(run.run_id.clone(), pending.clone()) != Some(pending);
        }
    }

    /// Removes a pending run from a query, because it does not exist for the user.
    pub(super) fn remove_pending(&mut self, query: &str, run: &RunId) {
        if let Some(pending) = self.content.pending.get_mut(run) {
            self.is_changed |= pending.queries.remove(query);
            if pending.queries.is_empty() {
                self.content.pending.remove(run);
            }
        }
    }

    /// Records that the results of a run are in the folder.
    pub(super) fn record_complete(&mut self, run: &Run, now: SystemTime) {
        let is_new = self.settled_runs_of_day(run, now).complete.insert(run.run_id.clone());
        self.is_changed |= self.content.pending.remove(&run.run_id).is_some() | is_new;
    }

    /// Records that results of a run are lost.
    pub(super) fn record_lost(&mut self, run: &Run, now: SystemTime) {
        let is_new = self.settled_runs_of_day(run, now).lost.insert(run.run_id.clone());
        self.is_changed |= self.content.pending.remove(&run.run_id).is_some() | is_new;
    }

    /// Returns the settled runs of the day on which a run ended. A run without an end, or with an end in the future,
    /// belongs to the current day.
    fn settled_runs_of_day(&mut self, run: &Run, now: SystemTime) -> &mut SettledRuns {
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
    pub(super) fn mark_saved(&mut self) {
        self.is_changed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{list_marks, moment, run};
    use super::*;

    fn reload(state: &SyncState) -> SyncState {
        SyncState::parse(Some(&state.bytes().unwrap()))
    }

    #[test]
    fn state_is_reloaded_and_invalid_content_is_an_empty_state() {
        let marks = list_marks("2026-11-25T08:00:00Z");
        let mut state = SyncState::parse(None);
        assert!(!state.is_changed(), "nothing to record");
        state.record_marks("query", Some(marks));
        state.record_marks("query", None);
        let run = |id: &str| run(id, Some("2026-11-25T08:00:00Z"));
        state.record_complete(&run("a"), now());
        state.record_lost(&run("b"), now());
        assert!(state.is_changed());
        let state = reload(&state);
        assert!(state.is_settled(&"a".into()) && state.is_settled(&"b".into()) && !state.is_settled(&"c".into()));
        assert_eq!((state.marks("query"), state.marks("other")), (Some(marks), None));
        for invalid in ["", "{", "[]", r#"{"version":1,"lists":{},"complete":["a"],"lost":[],"pending":{}}"#] {
            let state = SyncState::parse(Some(invalid.as_bytes()));
            assert!(!state.is_settled(&"a".into()) && state.marks("query").is_none(), "{invalid}");
        }
    }

    #[test]
    fn pending_run_belongs_to_each_query_that_found_it() {
        let found = run("a", Some("2026-11-25T08:00:00Z"));
        let mut state = SyncState::parse(None);
        state.record_pending("cron", [&found].into_iter(), false);
        state.record_pending("tags", [&found].into_iter(), false);
        let mut state = reload(&state);
        let pending_ids =
            |state: &SyncState, query| state.pending(query).map(|(run, _)| run.to_string()).collect::<Vec<_>>();
        assert_eq!(
            (pending_ids(&state, "cron"), pending_ids(&state, "tags"), pending_ids(&state, "x")),
            (vec!["a".into()], vec!["a".into()], vec![])
        );
        state.remove_pending("tags", &"a".into());
        assert_eq!((pending_ids(&state, "cron").len(), pending_ids(&state, "tags").len()), (1, 0));
        assert!(state.is_changed() && !state.is_settled(&"a".into()), "the run belongs to the other query");
        state.remove_pending("cron", &"a".into());
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
    fn size_is_limited_by_the_retention() {
        const RUNS_PER_DAY: u32 = 20;
        let kept_days = usize::try_from(RETENTION.as_secs() / DAY.as_secs()).unwrap() + 1;
        let mut state = SyncState::parse(None);
        let (mut largest, mut previous) = (0, 0);
        for today in 0..400 {
            state.expire(after(today));
            let end = Timestamp::try_from(after(today)).unwrap().to_string();
            for number in 0..RUNS_PER_DAY {
                let run = run(&format!("00000000-0000-4000-8000-{today:06}{number:06}"), Some(&end));
                state.record_pending("cron", [&run].into_iter(), false);
                if number == 0 {
                    state.record_lost(&run, after(today));
                } else {
                    state.record_complete(&run, after(today));
                }
            }
            state.record_marks("cron", Some(list_marks(&end)));
            let bytes = state.bytes().unwrap().len();
            (largest, previous) = if today < 100 { (largest.max(bytes), bytes) } else { (largest, bytes) };
        }
        assert!(previous <= largest, "{previous} bytes after 400 days, and {largest} after 100");
        assert!(previous <= kept_days * (45 * RUNS_PER_DAY as usize + 60) + 300, "{previous} bytes");
        assert_eq!(state.settled_runs().count(), kept_days * RUNS_PER_DAY as usize);
    }

    #[test]
    fn expired_runs_are_not_fetched_again_unless_they_are_pending() {
        let (old, new) = (run("old", Some("2026-11-20T08:00:00Z")), run("new", Some("2026-11-26T08:00:00Z")));
        let mut state = SyncState::parse(None);
        state.record_complete(&old, now());
        state.record_lost(&new, now());
        state.expire(after(55));
        assert!(state.is_settled(&"old".into()) && !state.is_expired(&old), "its results may exist");
        state.mark_saved();
        state.expire(after(58));
        assert!(state.is_changed());
        let mut state = reload(&state);
        assert!(!state.is_settled(&"old".into()) && state.is_expired(&old), "it is not fetched again");
        assert!(state.is_settled(&"new".into()) && !state.is_expired(&new));
        state.record_pending("query", [&old].into_iter(), false);
        assert!(!state.is_expired(&old), "a pending run does not expire");
        state.mark_saved();
        state.expire(after(58));
        assert!(!state.is_changed(), "nothing to write");
    }

    #[test]
    fn unused_queries_are_removed_with_their_pending_runs() {
        let found = run("a", Some("2026-11-25T08:00:00Z"));
        let mut state = SyncState::parse(None);
        for query in ["cron", "once"] {
            state.record_marks(query, Some(list_marks("2026-11-25T08:00:00Z")));
            state.record_pending(query, [&found].into_iter(), false);
        }
        state.record_pending("once", [&run("b", Some("2026-11-25T08:00:00Z"))].into_iter(), false);
        state.record_marks("cron", Some(list_marks("2027-01-25T08:00:00Z")));
        state.expire(after(70));
        assert!(state.marks("once").is_none() && state.marks("cron").is_some() && state.is_changed());
        assert!(state.pending_run(&"b".into()).is_none());
        assert_eq!(state.pending_run(&"a".into()).unwrap().queries, BTreeSet::from(["cron".to_owned()]));
    }
}
