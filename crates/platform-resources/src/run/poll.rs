//! Polling of runs, because the platform does not send notifications.

use std::sync::Arc;
use std::time::Duration;

use auth_core::Backoff;
use futures_util::stream::TryStreamExt;
use platform_api::models::{Item, ItemState, Run, RunState};
use platform_api::operations::ListRunItems;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::RunHandle;
use super::ended::{EndedItems, ended_count};
use crate::core::{Caching, Group};
use crate::pages::PAGE_SIZE;
use crate::{Error, ItemOutcome};

/// The pauses between polls. They grow while the run does not change.
const POLL_BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
/// The maximum time until a new run is found. Reads lag behind writes.
const MAX_LAG: Duration = Duration::from_secs(10);

/// The state of a run at one poll.
pub(crate) struct Snapshot<C> {
    pub(crate) run: Run,
    /// The converted items: the items that ended since the last poll, or all items.
    pub(crate) items: C,
}

impl<C> Snapshot<C> {
    pub(crate) fn has_run_ended(&self) -> bool {
        self.run.state == RunState::Terminated
    }
}

/// The state of polling a run.
#[derive(Clone)]
pub(crate) struct Poll {
    run: RunHandle,
    /// The number of consecutive polls without news, or `None` before the first poll.
    idle_polls: Option<u32>,
    /// True if the run was found before.
    was_found: bool,
    /// The ended items that were returned. Polls are sequential, so the lock is never contended.
    ended_items: Arc<Mutex<EndedItems>>,
}

impl Poll {
    pub(crate) fn new(run: RunHandle) -> Self {
        // The cache is bypassed, because the current state is needed. `until_found` retries a missing run.
        let mut run = run.no_cache().no_wait();
        run.client = run.client.for_transfer();
        Self { run, idle_polls: None, was_found: false, ended_items: Arc::default() }
    }

    /// Increases the pause before the next poll, or resets it if the last poll `has_news`.
    pub(crate) fn record_news(&mut self, has_news: bool) {
        self.idle_polls = Some(if has_news { 1 } else { self.idle_polls.map_or(1, |idle| idle.saturating_add(1)) });
        self.was_found = true;
    }

    /// Waits for the pause, and polls the run and its items. Returns the items that ended since the last poll. Returns
    /// all items if `needs_all_items` is set, or if the run has ended and an item was missed. Each item is converted by
    /// `convert`, so that only the converted item is stored. An item may be returned twice.
    pub(crate) async fn snapshot<T: Send, C: Default + Extend<T> + Send>(
        self,
        needs_all_items: bool,
        convert: impl Fn(Item) -> T + Clone + Send,
    ) -> Result<Snapshot<C>, Error> {
        let ended_items = self.ended_items.clone();
        self.until_found(|run| {
            let (convert, ended_items) = (convert.clone(), ended_items.clone());
            async move {
                let mut ended_items = ended_items.lock().await;
                // The run is read before its items: if the run has ended, all items have ended.
                let current_run = run.get().await?;
                let has_run_ended = current_run.state == RunState::Terminated;
                let reads_all_items =
                    needs_all_items || (has_run_ended && !ended_items.is_complete(&current_run.statistics));
                if !reads_all_items && (has_run_ended || ended_count(&current_run.statistics) == 0) {
                    return Ok(Snapshot { run: current_run, items: C::default() });
                }
                let run = without_caching(run).await?;
                let mut items = C::default();
                if reads_all_items {
                    let mut updated_items = ended_items.clone();
                    let mut list = run.items();
                    while let Some(item) = list.try_next().await? {
                        if has_run_ended || ItemOutcome::of(&item) != ItemOutcome::InProgress {
                            updated_items.record(&item);
                        }
                        items.extend([convert(item)]);
                    }
                    *ended_items = updated_items;
                } else {
                    let new_items = ended_items
                        .new_items(&current_run.statistics, |page| newest_ended_items(run.clone(), page))
                        .await?;
                    for item in new_items {
                        ended_items.record(&item);
                        items.extend([convert(item)]);
                    }
                }
                Ok(Snapshot { run: current_run, items })
            }
        })
        .await
    }

    /// Waits for the pause, and polls the run without its items.
    pub(crate) async fn poll_run(self) -> Result<Run, Error> {
        self.until_found(|run| async move {
            let current_run = run.get().await?;
            if current_run.state == RunState::Terminated {
                // The cached items may be older than the end of the run.
                run.client.core.invalidate(&[Group::Run]).await?;
            }
            Ok(current_run)
        })
        .await
    }

    /// Calls `poll_once` until it finds the run, for at most [`MAX_LAG`].
    async fn until_found<T, F>(mut self, poll_once: impl Fn(RunHandle) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut first_failure = None;
        loop {
            wait(self.idle_polls.map_or(Duration::ZERO, |idle| POLL_BACKOFF.bound(idle))).await;
            let error = match poll_once(self.run.clone()).await {
                Err(error) if error.is_not_found() && !self.was_found => error,
                outcome => return outcome,
            };
            let now = Instant::now();
            if now - *first_failure.get_or_insert(now) > MAX_LAG {
                return Err(error);
            }
            tracing::debug!(run = %self.run.id, error = &error as &dyn std::error::Error, "polling again");
            self.idle_polls = Some(self.idle_polls.map_or(1, |idle| idle.saturating_add(1)));
        }
    }
}

/// Returns a handle that neither uses nor fills the response cache, because a run has many items, and each item is
/// large. Invalidates the cached responses, which may be older than this poll.
async fn without_caching(mut run: RunHandle) -> Result<RunHandle, Error> {
    let core = run.client.core.clone();
    run.client.core = run.client.core.with_mode(|mode| mode.caching = Caching::NoStore);
    core.invalidate(&[Group::Run]).await?;
    Ok(run)
}

/// Returns a page of the ended items, newest first.
async fn newest_ended_items(run: RunHandle, page: i64) -> Result<Vec<Item>, Error> {
    let query = ListRunItems::new(run.id.as_str()).with_state(ItemState::Terminated);
    let query = query.with_sort(["-terminated_at".to_owned()]).with_page(page).with_page_size(PAGE_SIZE);
    run.client.core.read_cached(query, Group::Run).await
}

#[expect(clippy::disallowed_methods, reason = "the state of a run can only be polled")]
async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}
