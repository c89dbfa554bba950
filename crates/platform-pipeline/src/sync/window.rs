//! The part of the list of runs that a synchronization must read.

use std::time::{Duration, SystemTime};

use platform_resources::{RESULTS_RETENTION, Timestamp};

use super::state::ListMarks;

/// The maximum delay between the end of a run and its appearance in the list. Runs do not appear in the order of their
/// ends.
const LISTING_DELAY: Duration = Duration::from_secs(10 * 60);
/// The maximum number of pending runs that are requested individually. If there are more, the list is read up to the
/// earliest of them.
const MAX_SINGLE_REQUESTS: usize = 20;
/// The interval of full lists, which find earlier runs whose tags, notes, metadata or access have changed.
const FULL_LIST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// The period of a full list: the retention of results, and one more day.
const FULL_LIST_PERIOD: Duration = Duration::from_secs(RESULTS_RETENTION.as_secs() + 24 * 60 * 60);

/// The part of the list that a call reads, from the latest end on.
#[derive(Debug)]
pub(super) struct Window {
    /// Runs that ended before this time need not be read; `None` if the whole list must be read.
    pub(super) stop: Option<SystemTime>,
    /// True if the list of all runs that can have results is due.
    pub(super) is_full: bool,
    previous: Option<ListMarks>,
    now: SystemTime,
}

impl Window {
    /// Creates the window of a query from the marks of its previous list and the ends of its pending runs.
    pub(super) fn new(
        previous: Option<ListMarks>,
        pending: impl ExactSizeIterator<Item = Option<Timestamp>>,
        now: SystemTime,
    ) -> Self {
        let Some(list) = previous else { return Self { stop: None, previous, is_full: true, now } };
        let is_full = now.duration_since(list.full_at.into()).map_or(true, |age| age >= FULL_LIST_INTERVAL);
        // A mark in the future, from a wrong clock, would hide all runs until then.
        let mark = SystemTime::from(list.mark).min(now);
        let complete_until = SystemTime::from(list.at).min(now).checked_sub(LISTING_DELAY);
        let mut stop = complete_until.map(|time| time.min(mark));
        if is_full {
            stop = stop.min(now.checked_sub(FULL_LIST_PERIOD));
        }
        if pending.len() > MAX_SINGLE_REQUESTS {
            // `None` is less than any time. If a pending run has no end, the whole list is read.
            stop = stop.min(pending.map(|end| end.map(SystemTime::from)).min().flatten());
        }
        Self { stop, is_full, previous, now }
    }

    /// Returns the marks after this list, whose latest run ended at `latest`. They remain equal if the previous list
    /// has certainly contained all runs up to the mark, so that the state need not be written again.
    pub(super) fn next_marks(&self, latest: Option<Timestamp>) -> Option<ListMarks> {
        let now = Timestamp::try_from(self.now).ok()?;
        let mark = self.previous.map(|list| list.mark).max(latest)?.min(now);
        let full_at = self.previous.filter(|_| !self.is_full).map_or(now, |list| list.full_at);
        let is_complete = |list: &ListMarks| {
            list.mark == mark
                && SystemTime::from(list.at).checked_sub(LISTING_DELAY) >= Some(SystemTime::from(mark))
                && list.at <= now
        };
        let at = self.previous.filter(is_complete).map_or(now, |list| list.at);
        Some(ListMarks { mark, at, full_at })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::moment;
    use super::*;

    const NOW: &str = "2026-11-25T12:00:00Z";

    fn marks(mark: &str, at: &str, full_at: &str) -> ListMarks {
        ListMarks { mark: moment(mark), at: moment(at), full_at: moment(full_at) }
    }

    fn window(previous: impl Into<Option<ListMarks>>, pending: &[Option<&str>]) -> Window {
        let pending: Vec<_> = pending.iter().map(|end| end.map(moment)).collect();
        Window::new(previous.into(), pending.into_iter(), moment(NOW).into())
    }

    fn stop(previous: impl Into<Option<ListMarks>>, pending: &[Option<&str>]) -> Option<Timestamp> {
        window(previous, pending).stop.map(|stop| stop.try_into().unwrap())
    }

    #[test]
    fn first_list_is_complete_and_the_next_ones_end_at_the_mark() {
        assert_eq!(stop(None::<ListMarks>, &[]), None);
        let first = window(None::<ListMarks>, &[]).next_marks(Some(moment("2026-11-25T08:00:00Z")));
        assert_eq!(first, Some(marks("2026-11-25T08:00:00Z", NOW, NOW)));
        assert_eq!(stop(first, &[]), Some(moment("2026-11-25T08:00:00Z")));
        assert_eq!(window(first, &[]).next_marks(None), first, "nothing to write");
        // Runs can appear in the list with a delay of up to 10 minutes.
        let fresh = marks("2026-11-25T11:59:00Z", NOW, NOW);
        assert_eq!(stop(fresh, &[]), Some(moment("2026-11-25T11:50:00Z")));
        assert_eq!(window(None::<ListMarks>, &[]).next_marks(None), None, "no run was listed");
    }

    #[test]
    fn full_list_of_all_runs_with_results_follows_once_a_day() {
        let previous = marks("2026-11-25T08:00:00Z", "2026-11-25T11:00:00Z", "2026-11-24T12:00:00Z");
        assert_eq!(stop(previous, &[]), Some(moment("2026-10-25T12:00:00Z")));
        let next = window(previous, &[]).next_marks(Some(moment("2026-11-25T08:00:00Z")));
        assert_eq!(next, Some(marks("2026-11-25T08:00:00Z", "2026-11-25T11:00:00Z", NOW)));
        assert_eq!(stop(next, &[]), Some(moment("2026-11-25T08:00:00Z")));
        let earlier = marks("2026-09-01T08:00:00Z", "2026-09-01T08:00:00Z", "2026-09-01T08:00:00Z");
        assert_eq!(stop(earlier, &[]), Some(moment("2026-09-01T07:50:00Z")), "lost results are found, too");
        let future = marks("2026-11-25T08:00:00Z", "2026-11-25T11:00:00Z", "2027-01-01T00:00:00Z");
        assert_eq!(stop(future, &[]), Some(moment("2026-10-25T12:00:00Z")), "the clock was wrong");
    }

    #[test]
    fn mark_in_the_future_does_not_hide_later_runs() {
        let future = marks("2030-01-01T00:00:00Z", NOW, NOW);
        assert_eq!(stop(future, &[]), Some(moment("2026-11-25T11:50:00Z")));
        let next =
            window(marks("2026-11-25T08:00:00Z", NOW, NOW), &[]).next_marks(Some(moment("2030-01-01T00:00:00Z")));
        assert_eq!(next.unwrap().mark, moment(NOW));
        assert_eq!(window(future, &[]).next_marks(None).unwrap().mark, moment(NOW));
    }

    #[test]
    fn few_pending_runs_are_requested_and_many_are_listed() {
        let previous = marks("2026-11-25T08:00:00Z", NOW, NOW);
        let mut pending = vec![Some("2026-11-20T08:00:00Z"); MAX_SINGLE_REQUESTS];
        assert_eq!(stop(previous, &pending), Some(moment("2026-11-25T08:00:00Z")));
        pending.push(Some("2026-11-21T08:00:00Z"));
        assert_eq!(stop(previous, &pending), Some(moment("2026-11-20T08:00:00Z")));
        pending.push(None);
        assert_eq!(stop(previous, &pending), None);
    }
}
