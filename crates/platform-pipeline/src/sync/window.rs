//! The part of the list of runs that a call must read.

use std::time::{Duration, SystemTime};

use platform_resources::{RESULTS_RETENTION, Timestamp};

use super::state::Listed;

/// The age of a run's end at which the list surely contains it: a run can be listed later than one that ended after it.
const LATE: Duration = Duration::from_secs(10 * 60);
/// The maximum number of pending runs that are requested one by one. Otherwise the list is read up to them.
const SINGLE: usize = 20;
/// The interval of full lists: tags, notes, metadata and access of runs that ended earlier can have changed.
const FULL: Duration = Duration::from_secs(24 * 60 * 60);
/// The part of a full list that can have results, and a day more.
const RETAINED: Duration = Duration::from_secs(RESULTS_RETENTION.as_secs() + 24 * 60 * 60);

/// The part of the list that a call reads, from the latest end on.
#[derive(Debug)]
pub(super) struct Window {
    /// The end before which the list need not be read; `None` if the whole list must be read.
    pub(super) stop: Option<SystemTime>,
    /// True if the list of all runs that can have results is due.
    pub(super) is_full: bool,
    previous: Option<Listed>,
    now: SystemTime,
}

impl Window {
    /// Creates the window of a query after its `previous` list. `pending` are the ends of its pending runs.
    pub(super) fn new(
        previous: Option<Listed>,
        pending: impl ExactSizeIterator<Item = Option<Timestamp>>,
        now: SystemTime,
    ) -> Self {
        let Some(list) = previous else { return Self { stop: None, previous, is_full: true, now } };
        let is_full = now.duration_since(list.full_at.into()).map_or(true, |age| age >= FULL);
        // An end in the future would hide all runs until then.
        let known = SystemTime::from(list.mark).min(now);
        let certain = SystemTime::from(list.at).min(now).checked_sub(LATE);
        let mut stop = certain.map(|certain| certain.min(known));
        if is_full {
            stop = stop.min(now.checked_sub(RETAINED));
        }
        if pending.len() > SINGLE {
            // Absent ends and stops are the least: the whole list is read.
            stop = stop.min(pending.map(|end| end.map(SystemTime::from)).min().flatten());
        }
        Self { stop, is_full, previous, now }
    }

    /// Returns the last lists, with the latest end of a run. Nothing changes once the list has surely contained all runs up to
    /// the latest one, so that the state is not written again.
    pub(super) fn listed(&self, latest: Option<Timestamp>) -> Option<Listed> {
        let now = Timestamp::try_from(self.now).ok()?;
        let mark = self.previous.map(|list| list.mark).max(latest)?.min(now);
        let full_at = self.previous.filter(|_| !self.is_full).map_or(now, |list| list.full_at);
        let is_certain = |list: &Listed| {
            list.mark == mark
                && SystemTime::from(list.at).checked_sub(LATE) >= Some(SystemTime::from(mark))
                && list.at <= now
        };
        let at = self.previous.filter(is_certain).map_or(now, |list| list.at);
        Some(Listed { mark, at, full_at })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::moment;
    use super::*;

    const NOW: &str = "2026-11-25T12:00:00Z";

    fn listed(mark: &str, at: &str, full_at: &str) -> Listed {
        Listed { mark: moment(mark), at: moment(at), full_at: moment(full_at) }
    }

    fn window(previous: impl Into<Option<Listed>>, pending: &[Option<&str>]) -> Window {
        let pending: Vec<_> = pending.iter().map(|end| end.map(moment)).collect();
        Window::new(previous.into(), pending.into_iter(), moment(NOW).into())
    }

    fn stop(previous: impl Into<Option<Listed>>, pending: &[Option<&str>]) -> Option<Timestamp> {
        window(previous, pending).stop.map(|stop| stop.try_into().unwrap())
    }

    #[test]
    fn first_list_is_complete_and_the_next_ones_end_at_the_mark() {
        assert_eq!(stop(None::<Listed>, &[]), None);
        let first = window(None::<Listed>, &[]).listed(Some(moment("2026-11-25T08:00:00Z")));
        assert_eq!(first, Some(listed("2026-11-25T08:00:00Z", NOW, NOW)));
        assert_eq!(stop(first, &[]), Some(moment("2026-11-25T08:00:00Z")));
        assert_eq!(window(first, &[]).listed(None), first, "nothing to write");
        // A run can be listed up to 10 minutes late.
        let fresh = listed("2026-11-25T11:59:00Z", NOW, NOW);
        assert_eq!(stop(fresh, &[]), Some(moment("2026-11-25T11:50:00Z")));
        assert_eq!(window(None::<Listed>, &[]).listed(None), None, "nothing was listed");
    }

    #[test]
    fn full_list_of_all_runs_with_results_follows_once_a_day() {
        let previous = listed("2026-11-25T08:00:00Z", "2026-11-25T11:00:00Z", "2026-11-24T12:00:00Z");
        assert_eq!(stop(previous, &[]), Some(moment("2026-10-25T12:00:00Z")));
        let next = window(previous, &[]).listed(Some(moment("2026-11-25T08:00:00Z")));
        assert_eq!(next, Some(listed("2026-11-25T08:00:00Z", "2026-11-25T11:00:00Z", NOW)));
        assert_eq!(stop(next, &[]), Some(moment("2026-11-25T08:00:00Z")));
        let earlier = listed("2026-09-01T08:00:00Z", "2026-09-01T08:00:00Z", "2026-09-01T08:00:00Z");
        assert_eq!(stop(earlier, &[]), Some(moment("2026-09-01T07:50:00Z")), "results that were lost are found, too");
        let future = listed("2026-11-25T08:00:00Z", "2026-11-25T11:00:00Z", "2027-01-01T00:00:00Z");
        assert_eq!(stop(future, &[]), Some(moment("2026-10-25T12:00:00Z")), "the clock was wrong");
    }

    #[test]
    fn end_in_the_future_does_not_hide_later_runs() {
        let read = listed("2030-01-01T00:00:00Z", NOW, NOW);
        assert_eq!(stop(read, &[]), Some(moment("2026-11-25T11:50:00Z")));
        let next = window(listed("2026-11-25T08:00:00Z", NOW, NOW), &[]).listed(Some(moment("2030-01-01T00:00:00Z")));
        assert_eq!(next.unwrap().mark, moment(NOW));
        assert_eq!(window(read, &[]).listed(None).unwrap().mark, moment(NOW));
    }

    #[test]
    fn many_pending_runs_are_listed_and_few_requested() {
        let previous = listed("2026-11-25T08:00:00Z", NOW, NOW);
        let mut pending = vec![Some("2026-11-20T08:00:00Z"); SINGLE];
        assert_eq!(stop(previous, &pending), Some(moment("2026-11-25T08:00:00Z")));
        pending.push(Some("2026-11-21T08:00:00Z"));
        assert_eq!(stop(previous, &pending), Some(moment("2026-11-20T08:00:00Z")));
        pending.push(None);
        assert_eq!(stop(previous, &pending), None);
    }
}
