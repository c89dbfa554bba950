//! Listing of the runs whose results are not in the folder yet.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::SystemTime;

use auth_core::{Clock, SystemClock, error_chain};
use futures_util::future::try_join_all;
use futures_util::{Stream, TryStreamExt};
use platform_resources::models::{Me, Run, RunState};
use platform_resources::operations::ListRuns;
use platform_resources::{Client, Timestamp, results_end, results_safe_until};

use super::cause::concerns_other_requests;
use super::local::LocalRuns;
use super::report::UnreadRun;
use super::state::ListMarks;
use super::window::Window;
use crate::digest;
use crate::error::Error;

/// The order of the list. The run id makes it total, so that no run is missed between two pages.
const LATEST_FIRST: [&str; 2] = ["-terminated_at", "run_id"];
/// The reverse order. If runs without an end are last in the other order, they are first in this order.
const EARLIEST_FIRST: [&str; 2] = ["terminated_at", "run_id"];
/// The page size, which is the maximum of the platform.
const PAGE: i64 = 100;
/// The maximum number of concurrent requests for manifests in a store.
const REQUESTS: usize = 16;

/// The listed runs that a synchronization must fetch or compare.
pub(super) struct RunsToSync {
    /// The runs with results, but without a file in any manifest.
    pub(super) unrecorded: Vec<Run>,
    /// The runs with files in a manifest, whose items were not compared with the manifest yet.
    pub(super) recorded: Vec<Run>,
    /// The pending runs whose requests failed.
    pub(super) unread: Vec<UnreadRun>,
    /// The marks of the query after this list.
    pub(super) marks: Option<ListMarks>,
}

/// Returns the key of a query in the state. It differs for each platform, user and combination of filters.
pub(super) fn query_key(root: &str, me: &Me, query: &ListRuns) -> String {
    let filters = [
        &query.application_id,
        &query.application_version,
        &query.external_id,
        &query.custom_metadata,
        &query.submitted_by,
        &query.organization_id,
        &query.for_organization,
    ];
    // The prefix distinguishes an empty filter from an absent one.
    let filters: Vec<_> = filters.iter().map(|filter| filter.as_ref().map(|text| format!("={text}"))).collect();
    let filters = filters.iter().map(|filter| filter.as_deref().unwrap_or_default());
    digest::of_texts([root, me.organization.id.as_str(), me.user.id.as_str()].into_iter().chain(filters))
}

/// Lists the runs by their end, the latest first, up to the runs that earlier calls have listed.
pub(super) async fn find(client: &Client, query: &ListRuns, key: &str, local: &LocalRuns) -> Result<RunsToSync, Error> {
    let now = SystemClock.now();
    let mut pending: BTreeMap<_, _> = local.state.pending(key).collect();
    let previous = local.state.marks(key);
    let window = Window::new(previous, pending.values().map(|run| run.terminated_at), now);
    let list = |sort: [&str; 2]| {
        let query = query.clone().with_sort(sort.map(str::to_owned)).with_page_size(PAGE);
        client.clone().no_cache().runs().list_with(query).one_page_at_a_time()
    };
    // A run that ends during the list can be on two pages.
    let mut unsettled = BTreeMap::new();
    let mut add_run = |run: Run| {
        pending.remove(&run.run_id);
        // Only the first list of a query includes expired runs, so that they are reported once.
        let is_expired = previous.is_some() && local.state.is_expired(&run);
        if local.is_unsettled(&run) && !is_expired {
            unsettled.insert(run.run_id.clone(), run);
        }
    };
    let latest = visit_runs(list(LATEST_FIRST), window.stop, &mut add_run).await?;
    if window.is_full && window.stop.is_some() {
        visit_runs_without_end(list(EARLIEST_FIRST), &mut add_run).await?;
    }
    let mut unread = Vec::new();
    for run in pending.into_keys() {
        match client.run(run.clone()).no_cache().get().await {
            Ok(run) => drop(unsettled.insert(run.run_id.clone(), run)),
            Err(error) if concerns_other_requests(&error) => return Err(error.into()),
            Err(error) => unread.push(UnreadRun {
                run_id: run.clone(),
                is_gone: error.is_not_found()
                    || error.api().is_some_and(|error| error.is_forbidden() || error.is_gone()),
                failure: error_chain(&error),
            }),
        }
    }
    let (mut unrecorded, mut recorded) = (Vec::new(), Vec::new());
    let unsettled: Vec<_> = unsettled.into_values().collect();
    local.select(unsettled.iter().map(|run| &run.run_id));
    for runs in unsettled.chunks(REQUESTS) {
        let are_recorded = try_join_all(runs.iter().map(|run| local.is_recorded(run))).await?;
        for (run, is_recorded) in runs.iter().cloned().zip(are_recorded) {
            let destination = if is_recorded { &mut recorded } else { &mut unrecorded };
            destination.push(run);
        }
    }
    sort(&mut unrecorded, now);
    sort(&mut recorded, now);
    Ok(RunsToSync { unrecorded, recorded, unread, marks: window.next_marks(latest) })
}

/// Passes the terminated runs of a list to `each`, up to the first run that ended before `stop`. Returns the latest
/// end. Runs without an end do not stop the iteration, wherever the platform sorts them.
async fn visit_runs<E>(
    runs: impl Stream<Item = Result<Run, E>>,
    stop: Option<SystemTime>,
    mut each: impl FnMut(Run),
) -> Result<Option<Timestamp>, E> {
    let mut runs = pin!(runs);
    let mut latest: Option<Timestamp> = None;
    while let Some(run) = runs.try_next().await? {
        if run.state != RunState::Terminated {
            continue;
        }
        let end = run.terminated_at;
        latest = latest.max(end);
        if let (Some(stop), Some(end)) = (stop, end)
            && SystemTime::from(end) < stop
        {
            break;
        }
        each(run);
    }
    Ok(latest)
}

/// Passes the terminated runs without an end at the beginning of a list to `each`.
async fn visit_runs_without_end<E>(
    runs: impl Stream<Item = Result<Run, E>>,
    mut each: impl FnMut(Run),
) -> Result<(), E> {
    let mut runs = pin!(runs);
    while let Some(run) = runs.try_next().await?.filter(|run| run.terminated_at.is_none()) {
        if run.state == RunState::Terminated {
            each(run);
        }
    }
    Ok(())
}

/// Sorts runs by the time at which the platform may delete their results. Runs with expired results are last.
pub(super) fn sort(runs: &mut [Run], now: SystemTime) {
    runs.sort_by_cached_key(|run| {
        let is_lost = results_end(run).is_some_and(|end| end <= now);
        (is_lost, results_safe_until(run), results_end(run), run.run_id.clone())
    });
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use serde_json::json;

    use super::super::tests::{moment, run};
    use super::*;

    /// Returns the ids of the visited runs, and the latest end.
    async fn visited(runs: &[Run], stop: Option<&str>) -> (Vec<String>, Option<Timestamp>) {
        let mut ids = Vec::new();
        let runs = stream::iter(runs.iter().cloned().map(Ok::<_, Infallible>));
        let stop = stop.map(|stop| moment(stop).into());
        let latest = visit_runs(runs, stop, |run| ids.push(run.run_id.to_string())).await.unwrap();
        (ids, latest)
    }

    #[tokio::test]
    async fn list_ends_at_the_first_run_before_the_stop() {
        let ends = ["2026-11-25T10:00:00Z", "2026-11-25T09:00:00Z", "2026-11-25T09:00:00Z", "2026-11-25T08:00:00Z"];
        let mut runs: Vec<_> = ends.iter().zip(["a", "b", "c", "d"]).map(|(end, id)| run(id, Some(end))).collect();
        let mut active = run("active", None);
        active.state = RunState::Processing;
        runs.insert(0, active);
        let latest = Some(moment(ends[0]));
        assert_eq!(
            visited(&runs, Some(ends[1])).await,
            (vec!["a".into(), "b".into(), "c".into()], latest),
            "equal ends"
        );
        assert_eq!(visited(&runs, None).await.0, ["a", "b", "c", "d"]);
        assert_eq!(visited(&runs, Some("2026-11-25T11:00:00Z")).await, (vec![], latest));
    }

    #[tokio::test]
    async fn runs_without_an_end_are_found_in_both_orders() {
        let (old, new) = (run("old", Some("2026-11-20T08:00:00Z")), run("new", Some("2026-11-25T08:00:00Z")));
        let none = run("none", None);
        let first = [none.clone(), new.clone(), old.clone()];
        assert_eq!(visited(&first, Some("2026-11-25T08:00:00Z")).await.0, ["none", "new"]);
        let mut last = [new, old, none];
        assert_eq!(visited(&last, None).await.0, ["new", "old", "none"]);
        assert_eq!(visited(&last, Some("2026-11-25T08:00:00Z")).await.0, ["new"]);
        last.reverse();
        for runs in [last, first] {
            let mut count = 0;
            let runs = stream::iter(runs.into_iter().map(Ok::<_, Infallible>));
            visit_runs_without_end(runs, |run| count += usize::from(run.run_id == "none".into())).await.unwrap();
            assert_eq!(count, 1);
        }
    }

    #[test]
    fn query_key_differs_by_platform_user_and_filters() {
        let me = |user: &str| -> Me {
            let me = json!({
                "user": { "id": user },
                "organization": {
                    "id": "org", "aignostics_bucket_name": "bucket", "aignostics_bucket_protocol": "gs",
                    "aignostics_bucket_hmac_access_key_id": "id", "aignostics_bucket_hmac_secret_access_key": "secret",
                    "aignostics_logfire_token": "token", "aignostics_sentry_dsn": "dsn",
                },
            });
            serde_json::from_value(me).unwrap()
        };
        let (one, two) = ("https://one.example/", "https://two.example/");
        let query = ListRuns::new();
        let filtered = query.clone().with_external_id("a");
        let keys = [
            query_key(one, &me("a"), &query),
            query_key(two, &me("a"), &query),
            query_key(one, &me("b"), &query),
            query_key(one, &me("a"), &filtered),
            query_key(one, &me("a"), &query.clone().with_external_id("")),
        ];
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), keys.len());
        assert_eq!(keys[0], query_key(one, &me("a"), &query.with_page_size(7)), "the page is ignored");
    }

    #[test]
    fn runs_are_sorted_by_deletion_with_lost_runs_last() {
        let mut runs = [
            run("late", Some("2026-11-25T08:00:00Z")),
            run("lost", Some("2026-10-01T08:00:00Z")),
            run("early", Some("2026-11-05T08:00:00Z")),
        ];
        sort(&mut runs, moment("2026-11-26T08:00:00Z").into());
        assert_eq!(runs.map(|run| run.run_id.to_string()), ["early", "late", "lost"]);
    }
}
