//! Asking how far a run is. The platform cannot tell: it is asked.

use std::time::Duration;

use futures_util::TryStreamExt;
use platform_api::ApiError;
use platform_api::models::{Item, Run, RunState, RunStatistics};
use tokio::time::Instant;

use crate::{Error, RunHandle};

/// How long to wait before the platform is asked again, at first and at most. The pause doubles
/// while nothing happens.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How long a platform that does not answer, or is at fault, is asked again.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// How long a run that was just submitted may not be found: reads lag behind writes.
const LAG: Duration = Duration::from_secs(10);

/// How far a run is.
pub(super) struct Snapshot {
    pub(super) run: Run,
    /// Its items, or none if no more of them had ended.
    pub(super) items: Vec<Item>,
}

impl Snapshot {
    pub(super) fn ended(&self) -> bool {
        self.run.state == RunState::Terminated
    }
}

#[derive(Clone)]
pub(super) struct Poll {
    run: RunHandle,
    pause: Duration,
    /// The run was found before.
    found: bool,
}

impl Poll {
    pub(super) fn new(run: RunHandle) -> Self {
        Self { run, pause: Duration::ZERO, found: false }
    }

    /// Waits longer before the next question if nothing was `new`.
    pub(super) fn learn(&mut self, new: bool) {
        self.pause = if new { PAUSES.0 } else { (self.pause * 2).clamp(PAUSES.0, PAUSES.1) };
        self.found = true;
    }

    /// Waits, and asks until there is an answer, or it is clear that there will be none. The items
    /// are asked for only if more than `known` have ended.
    pub(super) async fn ask(mut self, known: usize) -> Result<Snapshot, Error> {
        let mut first_failure = None;
        loop {
            wait(self.pause).await;
            let error = match self.look(known).await {
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

    async fn look(&self, known: usize) -> Result<Snapshot, Error> {
        // Asked in this order, the items of an ended run are all at their end.
        let run = self.run.get().await?;
        let wanted = run.state == RunState::Terminated || over(&run.statistics) > known;
        let items = if wanted { self.run.items().try_collect().await? } else { Vec::new() };
        Ok(Snapshot { run, items })
    }

    fn may_pass(&self, error: &Error) -> bool {
        error.api().is_some_and(ApiError::is_transient) || (error.is_not_found() && !self.found)
    }
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
