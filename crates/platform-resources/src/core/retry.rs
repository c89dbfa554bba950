//! The attempts of one call. [`auth_http::retry`] decides on retries. This module adds what is specific to the
//! platform: creating requests are sent once, and reads lag behind writes.

use std::time::Duration;

use auth_http::retry::Attempts;
use platform_api::ApiError;
use tokio::time::Instant;

use super::mode::Mode;
use crate::error::CallError;
use crate::settings::OperationSettings;
use crate::token_retry::wait;

/// The time for which a new run may not be found, because reads lag behind writes.
const MAX_LAG: Duration = Duration::from_secs(5);
/// The pause between requests for such a run.
const LAG_PAUSE: Duration = Duration::from_millis(250);

/// The start and the deadline of a call.
#[derive(Clone, Copy)]
pub(super) struct Time {
    start: Instant,
    deadline: Option<Duration>,
}

impl Time {
    pub(super) fn begin(mode: &Mode) -> Self {
        Self { start: Instant::now(), deadline: mode.deadline }
    }

    /// Returns the remaining time; `None` without a deadline.
    pub(super) fn left(self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_sub(self.start.elapsed()))
    }

    /// Limits `time` to the remaining time.
    pub(super) fn bounded(self, time: Duration) -> Duration {
        self.left().map_or(time, |left| left.min(time))
    }
}

/// The attempts of one call.
pub(super) struct Retry<'a> {
    settings: &'a OperationSettings,
    attempts: Attempts,
    time: Time,
    /// The time of the first attempt.
    start: Instant,
    waits_for_replicas: bool,
    /// The request must not be repeated after a byte was sent.
    is_once: bool,
    attempt: u32,
    /// The last failure, returned if the remaining time is too short for another attempt.
    last: Option<ApiError>,
}

impl<'a> Retry<'a> {
    pub(super) fn new(settings: &'a OperationSettings, mode: &Mode, time: Time, attempts: Attempts) -> Self {
        let waits_for_replicas = !mode.no_wait;
        let start = Instant::now();
        Self { settings, attempts, time, start, waits_for_replicas, is_once: false, attempt: 1, last: None }
    }

    /// Marks a request that must not be sent twice.
    pub(super) fn once(self) -> Self {
        Self { is_once: true, ..self }
    }

    pub(super) fn time(&self) -> Time {
        self.time
    }

    /// Returns the number of the attempt, from 1.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the timeout of the attempt.
    pub(super) fn timeout(&self) -> Duration {
        self.time.bounded(self.settings.timeout)
    }

    /// Waits until the call may be sent.
    pub(super) async fn ready(&mut self, operation: &'static str) -> Result<(), CallError> {
        let turn = self.attempts.ready();
        let turn = match self.time.left() {
            None => Ok(turn.await),
            Some(left) => tokio::time::timeout(left, turn).await,
        };
        let Ok(turn) = turn else {
            let error = self.last.take();
            let error = error.unwrap_or_else(|| ApiError::unreachable(operation, "its host is failing"));
            return Err(error.with_reason_to_give_up("no time is left for another attempt").into());
        };
        turn.map_err(|gave_up| {
            let error = self.last.take().unwrap_or_else(|| ApiError::unreachable(operation, gave_up.clone()));
            CallError::gave_up(error, gave_up)
        })
    }

    /// Records a response of the platform.
    pub(super) fn answered(&mut self) {
        self.attempts.answered();
    }

    /// Decides on another attempt, and waits for replicas. Returns the error if there is no other attempt.
    pub(super) async fn failed(&mut self, operation: &'static str, error: ApiError) -> Result<(), CallError> {
        if !error.is_transient() {
            if error.status().is_some() {
                self.attempts.answered();
            }
            let lags = error.is_not_found() && self.lags(operation);
            if !lags {
                return Err(error.into());
            }
            wait(LAG_PAUSE).await;
            return Ok(());
        }
        if self.is_once && !error.is_unsent() {
            return Err(error.into());
        }
        self.attempt += 1;
        let asked = error.retry_after();
        let again = match error.status() {
            Some(_) => self.attempts.refused(&error, asked),
            None => self.attempts.failed(&error, asked),
        };
        match again {
            Ok(()) => {
                self.last = Some(error);
                Ok(())
            }
            Err(gave_up) => Err(CallError::gave_up(error, gave_up)),
        }
    }

    fn lags(&self, operation: &str) -> bool {
        let reads_a_run = matches!(operation, "get_run" | "list_run_items");
        let in_time = self.start.elapsed() + LAG_PAUSE <= MAX_LAG;
        self.waits_for_replicas && reads_a_run && in_time && self.time.left().is_none_or(|left| LAG_PAUSE < left)
    }
}
