//! Whether a request is sent again, and when. Without a network; its clock is that of the runtime.

use std::sync::Mutex;
use std::time::Duration;

use platform_api::ApiError;
use tokio::time::Instant;

use super::Mode;
use crate::settings::OperationSettings;

/// How long a run that was just submitted may not be found: reads lag behind writes.
const LAG: Duration = Duration::from_secs(5);
/// How often such a run is asked for meanwhile.
const LAG_PAUSE: Duration = Duration::from_millis(250);
/// So many retries a client has to begin with, and at most.
const BUDGET: f64 = 20.0;
/// So much of a retry each success gives back: where nearly everything fails, retries would only add to the burden.
const REFUND: f64 = 0.2;

/// The retries that a client has left, for all its calls.
#[derive(Debug)]
pub(super) struct Budget(Mutex<f64>);

impl Default for Budget {
    fn default() -> Self {
        Self(Mutex::new(BUDGET))
    }
}

impl Budget {
    pub(super) fn succeeded(&self) {
        let mut left = self.left();
        *left = (*left + REFUND).min(BUDGET);
    }

    fn take(&self) -> bool {
        let mut left = self.left();
        let is_there = *left >= 1.0;
        if is_there {
            *left -= 1.0;
        }
        is_there
    }

    fn left(&self) -> std::sync::MutexGuard<'_, f64> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// How long a call may take, from its beginning on.
#[derive(Clone, Copy)]
pub(super) struct Time {
    start: Instant,
    deadline: Option<Duration>,
}

impl Time {
    pub(super) fn begin(mode: &Mode) -> Self {
        Self { start: Instant::now(), deadline: mode.deadline }
    }

    /// What is left; `None` if it does not matter.
    pub(super) fn left(self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_sub(self.start.elapsed()))
    }

    /// This time, or what is left.
    pub(super) fn bounded(self, time: Duration) -> Duration {
        self.left().map_or(time, |left| left.min(time))
    }
}

/// The attempts of one call.
pub(super) struct Retry<'a> {
    settings: &'a OperationSettings,
    budget: &'a Budget,
    time: Time,
    /// When the first attempt began.
    start: Instant,
    waits_for_replicas: bool,
    attempt: u32,
}

impl<'a> Retry<'a> {
    pub(super) fn new(settings: &'a OperationSettings, mode: &Mode, time: Time, budget: &'a Budget) -> Self {
        Self { settings, budget, time, start: Instant::now(), waits_for_replicas: !mode.no_wait, attempt: 1 }
    }

    pub(super) fn time(&self) -> Time {
        self.time
    }

    /// Which attempt it is, from 1.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How long the attempt may take.
    pub(super) fn timeout(&self) -> Duration {
        self.time.bounded(self.settings.timeout)
    }

    /// How long to wait before the next attempt; `None` if there is none.
    pub(super) fn pause_after(&mut self, operation: &str, error: &ApiError) -> Option<Duration> {
        let pause = if error.is_not_found() {
            self.lag(operation)?
        } else {
            let is_left = error.is_transient() && self.attempt < self.settings.attempts && self.budget.take();
            let pause = is_left.then(|| backoff(self.settings, self.attempt, fastrand::f64()))?;
            self.attempt += 1;
            // What the platform asks for, unless that is longer than anybody wants to wait.
            error.retry_after().map_or(pause, |asked| asked.max(pause).min(self.settings.wait_max.max(pause)))
        };
        self.time.left().is_none_or(|left| pause < left).then_some(pause)
    }

    fn lag(&self, operation: &str) -> Option<Duration> {
        let reads_a_run = matches!(operation, "get_run" | "list_run_items");
        let in_time = self.start.elapsed() + LAG_PAUSE <= LAG;
        (self.waits_for_replicas && reads_a_run && in_time).then_some(LAG_PAUSE)
    }
}

/// Doubles with every attempt; chance takes up to half of it, so that many do not come back at once.
fn backoff(settings: &OperationSettings, attempt: u32, random: f64) -> Duration {
    let doubled = settings.wait_min.saturating_mul(1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX));
    doubled.min(settings.wait_max).mul_f64(1.0 - random / 2.0)
}

#[expect(clippy::disallowed_methods, reason = "what failed now may succeed later")]
pub(super) async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}
