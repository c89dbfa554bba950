//! Asking how far a run is. The platform cannot tell: it is asked.

use std::time::Duration;

use futures_util::TryFutureExt;
use futures_util::stream::{Stream, TryStreamExt};
use platform_api::ApiError;
use platform_api::models::{Item, Run, RunState, RunStatistics};
use tokio::time::Instant;

use super::RunHandle;
use crate::Error;
use crate::core::Group;

/// How long to wait before the platform is asked again, at first and at most. The pause doubles
/// while nothing happens.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How long a platform that does not answer, or is at fault, is asked again.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
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
    pause: Duration,
    /// The run was found before.
    found: bool,
}

impl Poll {
    pub(crate) fn new(run: RunHandle) -> Self {
        // What is kept says nothing of how far it is; what is not found is asked for again here.
        Self { run: run.nocache().no_wait(), pause: Duration::ZERO, found: false }
    }

    /// Waits longer before the next question if nothing was `new`.
    pub(crate) fn learn(&mut self, new: bool) {
        self.pause = if new { PAUSES.0 } else { (self.pause * 2).clamp(PAUSES.0, PAUSES.1) };
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
            wait(self.pause).await;
            let error = match look(self.run.clone()).await {
                Err(error) if self.may_pass(&error) => error,
                answer => return answer,
            };
            let patience = if error.is_not_found() { LAG } else { PATIENCE };
            let now = Instant::now();
            if now - *first_failure.get_or_insert(now) > patience {
                return Err(error);
            }
            tracing::debug!(run = %self.run.id, error = &error as &dyn std::error::Error, "asked again");
            self.pause = (self.pause * 2).clamp(PAUSES.0, PAUSES.1);
        }
    }

    fn may_pass(&self, error: &Error) -> bool {
        error.api().is_some_and(ApiError::is_transient) || (error.is_not_found() && !self.found)
    }
}

/// Its items as they are now, of which nothing is kept: a run has many, and each says a lot. Nor is anything from before.
fn items(mut run: RunHandle) -> impl Stream<Item = Result<Item, Error>> + Send {
    let core = run.client.core.clone();
    run.client.core = run.client.core.with_mode(|mode| mode.fleeting = true);
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
