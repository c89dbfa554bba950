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
/// The maximum time after which a new run is found, because reads lag behind writes.
const MAX_LAG: Duration = Duration::from_secs(10);

/// The state of a run at one poll.
pub(crate) struct Snapshot<C> {
    pub(crate) run: Run,
    /// The converted items: those that ended since the last poll, or all.
    pub(crate) items: C,
}

impl<C> Snapshot<C> {
    pub(crate) fn ended(&self) -> bool {
        self.run.state == RunState::Terminated
    }
}

/// The state of polling a run.
#[derive(Clone)]
pub(crate) struct Poll {
    run: RunHandle,
    /// The number of consecutive polls without news; `None` before the first poll.
    idle: Option<u32>,
    /// True if the run was found before.
    found: bool,
    /// The ended items that were returned. Polls are sequential, so that the lock is never contended.
    ended: Arc<Mutex<EndedItems>>,
}

impl Poll {
    pub(crate) fn new(run: RunHandle) -> Self {
        // The cache is bypassed, because the current state is needed. `until_found` retries a missing run.
        let mut run = run.no_cache().no_wait();
        run.client = run.client.for_transfer();
        Self { run, idle: None, found: false, ended: Arc::default() }
    }

    /// Increases the pause before the next poll, or resets it if the last poll `has_news`.
    pub(crate) fn record_news(&mut self, has_news: bool) {
        self.idle = Some(if has_news { 1 } else { self.idle.map_or(1, |idle| idle.saturating_add(1)) });
        self.found = true;
    }

    /// Waits for the pause, and polls the run and its items. Returns the items that ended since the last poll. Returns
    /// all items if `all` is set, or if the run has ended and an item was missed. `convert` is called for each item, so
    /// that only the result must be stored. An item may be returned twice.
    pub(crate) async fn snapshot<T: Send, C: Default + Extend<T> + Send>(
        self,
        all: bool,
        convert: impl Fn(Item) -> T + Clone + Send,
    ) -> Result<Snapshot<C>, Error> {
        let ended = self.ended.clone();
        self.until_found(|run| {
            let (convert, ended) = (convert.clone(), ended.clone());
            async move {
                let mut ended = ended.lock().await;
                // The run is read before its items: if the run has ended, all items have ended.
                let found = run.get().await?;
                let is_over = found.state == RunState::Terminated;
                let needs_all = all || (is_over && !ended.is_complete(&found.statistics));
                if !needs_all && (is_over || ended_count(&found.statistics) == 0) {
                    return Ok(Snapshot { run: found, items: C::default() });
                }
                let run = without_caching(run).await?;
                let mut items = C::default();
                if needs_all {
                    let mut listed = ended.clone();
                    let mut list = run.items();
                    while let Some(item) = list.try_next().await? {
                        if is_over || ItemOutcome::of(&item) != ItemOutcome::InProgress {
                            listed.record(&item);
                        }
                        items.extend([convert(item)]);
                    }
                    *ended = listed;
                } else {
                    let news = ended.new_items(&found.statistics, |page| newest(run.clone(), page)).await?;
                    for item in news {
                        ended.record(&item);
                        items.extend([convert(item)]);
                    }
                }
                Ok(Snapshot { run: found, items })
            }
        })
        .await
    }

    /// Waits for the pause, and polls the run without its items.
    pub(crate) async fn run(self) -> Result<Run, Error> {
        self.until_found(|run| async move {
            let found = run.get().await?;
            if found.state == RunState::Terminated {
                // The cached items may be older than the end of the run.
                run.client.core.invalidate(&[Group::Run]).await?;
            }
            Ok(found)
        })
        .await
    }

    async fn until_found<T, F>(mut self, poll_once: impl Fn(RunHandle) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut first_failure = None;
        loop {
            wait(self.idle.map_or(Duration::ZERO, |idle| POLL_BACKOFF.bound(idle))).await;
            let error = match poll_once(self.run.clone()).await {
                Err(error) if error.is_not_found() && !self.found => error,
                outcome => return outcome,
            };
            let now = Instant::now();
            if now - *first_failure.get_or_insert(now) > MAX_LAG {
                return Err(error);
            }
            tracing::debug!(run = %self.run.id, error = &error as &dyn std::error::Error, "polling again");
            self.idle = Some(self.idle.map_or(1, |idle| idle.saturating_add(1)));
        }
    }
}

/// Returns a handle that neither uses nor fills the response cache for items, because a run has many items, and each is
/// large.
async fn without_caching(mut run: RunHandle) -> Result<RunHandle, Error> {
    let core = run.client.core.clone();
    run.client.core = run.client.core.with_mode(|mode| mode.caching = Caching::NoStore);
    core.invalidate(&[Group::Run]).await?;
    Ok(run)
}

/// Returns a page of the ended items, newest first.
async fn newest(run: RunHandle, page: i64) -> Result<Vec<Item>, Error> {
    let query = ListRunItems::new(run.id.as_str()).with_state(ItemState::Terminated);
    let query = query.with_sort(["-terminated_at".to_owned()]).with_page(page).with_page_size(PAGE_SIZE);
    run.client.core.read_cached(query, Group::Run).await
}

#[expect(clippy::disallowed_methods, reason = "the state of a run can only be polled")]
async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}
