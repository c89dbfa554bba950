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
use super::ended::{Ended, over};
use crate::core::{Caching, Group};
use crate::pages::SIZE;
use crate::{Error, ItemOutcome};

/// The pause between two polls, which grows while nothing changes.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
/// The time for which a new run may not be found, because reads lag behind writes.
const MAX_LAG: Duration = Duration::from_secs(10);

/// The state of a run.
pub(crate) struct Snapshot<C> {
    pub(crate) run: Run,
    /// The items that ended since the last poll, or all items, as converted by the caller.
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
    /// The number of consecutive polls without news; `None` before the first.
    idle: Option<u32>,
    /// The run was found before.
    found: bool,
    /// The items that were returned after their end. Requests of one poll are sequential.
    ended: Arc<Mutex<Ended>>,
}

impl Poll {
    pub(crate) fn new(run: RunHandle) -> Self {
        // The current state is needed, not a cached one, and a missing run is retried below.
        let mut run = run.no_cache().no_wait();
        run.client = run.client.for_transfer();
        Self { run, idle: None, found: false, ended: Arc::default() }
    }

    /// Increases the pause before the next poll, unless something was `new`.
    pub(crate) fn learn(&mut self, new: bool) {
        self.idle = Some(if new { 1 } else { self.idle.map_or(1, |idle| idle.saturating_add(1)) });
        self.found = true;
    }

    /// Waits, and polls until there is a response or a permanent failure. Returns the items that ended since the last
    /// poll; all items with `all`, and at the end of the run if any was missed. Only the result of `take` is kept in
    /// memory. An item may be returned twice.
    pub(crate) async fn ask<T: Send, C: Default + Extend<T> + Send>(
        self,
        all: bool,
        take: impl Fn(Item) -> T + Clone + Send,
    ) -> Result<Snapshot<C>, Error> {
        let ended = self.ended.clone();
        self.until_answered(|run| {
            let (take, ended) = (take.clone(), ended.clone());
            async move {
                let mut ended = ended.lock().await;
                // The run is read before its items: if it has ended, all of them have.
                let found = run.get().await?;
                let is_over = found.state == RunState::Terminated;
                let needs_all = all || (is_over && !ended.is_all(&found.statistics));
                if !needs_all && (is_over || over(&found.statistics) == 0) {
                    return Ok(Snapshot { run: found, items: C::default() });
                }
                let run = unkept(run).await?;
                let mut items = C::default();
                if needs_all {
                    let mut listed = ended.clone();
                    let mut list = run.items();
                    while let Some(item) = list.try_next().await? {
                        if is_over || ItemOutcome::of(&item) != ItemOutcome::InProgress {
                            listed.note(&item);
                        }
                        items.extend([take(item)]);
                    }
                    *ended = listed;
                } else {
                    let news = ended.news(&found.statistics, |page| newest(run.clone(), page)).await?;
                    for item in news {
                        ended.note(&item);
                        items.extend([take(item)]);
                    }
                }
                Ok(Snapshot { run: found, items })
            }
        })
        .await
    }

    /// Waits, and polls the run only.
    pub(crate) async fn run(self) -> Result<Run, Error> {
        self.until_answered(|run| async move {
            let found = run.get().await?;
            if found.state == RunState::Terminated {
                // Cached items are outdated.
                run.client.core.forget(&[Group::Run]).await?;
            }
            Ok(found)
        })
        .await
    }

    async fn until_answered<T, F>(mut self, look: impl Fn(RunHandle) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut first_failure = None;
        loop {
            wait(self.idle.map_or(Duration::ZERO, |idle| PAUSES.bound(idle))).await;
            let error = match look(self.run.clone()).await {
                Err(error) if error.is_not_found() && !self.found => error,
                answer => return answer,
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

/// Returns a handle that reads the current items, and does not cache them: a run has many items, and each is large.
async fn unkept(mut run: RunHandle) -> Result<RunHandle, Error> {
    let core = run.client.core.clone();
    run.client.core = run.client.core.with_mode(|mode| mode.caching = Caching::NoStore);
    core.forget(&[Group::Run]).await?;
    Ok(run)
}

/// Returns a page of the ended items, newest first.
async fn newest(run: RunHandle, page: i64) -> Result<Vec<Item>, Error> {
    let query = ListRunItems::new(run.id.as_str()).with_state(ItemState::Terminated);
    let query = query.with_sort(["-terminated_at".to_owned()]).with_page(page).with_page_size(SIZE);
    run.client.core.read_cached(query, Group::Run).await
}

#[expect(clippy::disallowed_methods, reason = "the one place that waits between two questions")]
async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}
