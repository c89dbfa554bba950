//! Asking how far a run is. The platform cannot tell: it is asked.

use std::time::Duration;

use auth_core::Backoff;
use futures_util::TryFutureExt;
use futures_util::stream::{Stream, TryStreamExt};
use platform_api::models::{Item, Run, RunState, RunStatistics};
use tokio::time::Instant;

use super::RunHandle;
use crate::Error;
use crate::core::{Caching, Group};

/// The pause between two polls, which grows while nothing happens.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
/// How long a run that was just submitted may not be found: reads lag behind writes.
const LAG: Duration = Duration::from_secs(10);

/// How far a run is.
pub(crate) struct Snapshot<T> {
    pub(crate) run: Run,
    /// What was wanted of its items, or nothing if no more of them had ended.
    pub(crate) items: Vec<T>,
}

impl<T> Snapshot<T> {
    pub(crate) fn ended(&self) -> bool {
        self.run.state == RunState::Terminated
    }
}

#[derive(Clone)]
pub(crate) struct Poll {
    run: RunHandle,
    /// The number of answers in a row that brought nothing new; `None` before the first.
    idle: Option<u32>,
    /// The run was found before.
    found: bool,
}

impl Poll {
    pub(crate) fn new(run: RunHandle) -> Self {
        // What is kept says nothing of how far it is; what is not found is asked for again here.
        let mut run = run.nocache().no_wait();
        run.client = run.client.for_transfer();
        Self { run, idle: None, found: false }
    }

    /// Waits longer before the next question if nothing was `new`.
    pub(crate) fn learn(&mut self, new: bool) {
        self.idle = Some(if new { 1 } else { self.idle.map_or(1, |idle| idle.saturating_add(1)) });
        self.found = true;
    }

    /// Waits, and asks until there is an answer, or it is clear that there will be none. The items
    /// are asked for only if more than `known` have ended, and of each of them only what `take` takes stays in memory.
    pub(crate) async fn ask<T: Send>(
        self,
        known: usize,
        take: impl Fn(Item) -> T + Clone + Send,
    ) -> Result<Snapshot<T>, Error> {
        self.until_answered(|run| {
            let take = take.clone();
            async move {
                // Asked in this order, the items of an ended run are all at their end.
                let found = run.get().await?;
                let wanted = found.state == RunState::Terminated || over(&found.statistics) > known;
                let items = if wanted { items(run).map_ok(take).try_collect().await? } else { Vec::new() };
                Ok(Snapshot { run: found, items })
            }
        })
        .await
    }

    /// The same for the run alone.
    pub(crate) async fn run(self) -> Result<Run, Error> {
        self.until_answered(|run| async move {
            let found = run.get().await?;
            if found.state == RunState::Terminated {
                // What is kept of its items is from before.
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
            if now - *first_failure.get_or_insert(now) > LAG {
                return Err(error);
            }
            tracing::debug!(run = %self.run.id, error = &error as &dyn std::error::Error, "asked again");
            self.idle = Some(self.idle.map_or(1, |idle| idle.saturating_add(1)));
        }
    }
}

/// Its items as they are now, of which nothing is kept: a run has many, and each says a lot. Nor is anything from before.
fn items(mut run: RunHandle) -> impl Stream<Item = Result<Item, Error>> + Send {
    let core = run.client.core.clone();
    run.client.core = run.client.core.with_mode(|mode| mode.caching = Caching::NoStore);
    let forgotten = async move { core.forget(&[Group::Run]).await.map(|()| run.items()) };
    forgotten.try_flatten_stream()
}

/// How many items have ended.
fn over(statistics: &RunStatistics) -> usize {
    let open = statistics.item_pending_count + statistics.item_processing_count;
    usize::try_from(statistics.item_count - open).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "the one place that waits between two questions")]
async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}
