//! The attempts of one call. [`auth_http::retry`] decides on retries. This module adds the rules of the platform:
//! creating requests are sent once, and reads may lag behind writes.

use std::time::Duration;

use auth_http::retry::Attempts;
use platform_api::ApiError;
use tokio::time::Instant;

use super::mode::Mode;
use crate::error::CallError;
use crate::settings::OperationSettings;
use crate::token_retry::wait;

/// The maximum time after which a new run is found, because reads lag behind writes.
const MAX_LAG: Duration = Duration::from_secs(5);
/// The pause before a run that was not found is requested again.
const LAG_PAUSE: Duration = Duration::from_millis(250);

/// The start and the deadline of a call.
#[derive(Clone, Copy)]
pub(super) struct CallTime {
    start: Instant,
    deadline: Option<Duration>,
}

impl CallTime {
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
    time: CallTime,
    /// The start of the first attempt.
    start: Instant,
    waits_for_replicas: bool,
    /// True if the request must not be sent again after a byte was sent.
    is_once: bool,
    attempt: u32,
    /// The last failure, which is returned if no time is left for another attempt.
    last: Option<ApiError>,
}

impl<'a> Retry<'a> {
    pub(super) fn new(settings: &'a OperationSettings, mode: &Mode, time: CallTime, attempts: Attempts) -> Self {
        let waits_for_replicas = !mode.no_wait;
        let start = Instant::now();
        Self { settings, attempts, time, start, waits_for_replicas, is_once: false, attempt: 1, last: None }
    }

    /// Marks a request that must not be sent twice.
    pub(super) fn once(self) -> Self {
        Self { is_once: true, ..self }
    }

    pub(super) fn time(&self) -> CallTime {
        self.time
    }

    /// Returns the number of the current attempt; the first is 1.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the timeout of the current attempt.
    pub(super) fn timeout(&self) -> Duration {
        self.time.bounded(self.settings.timeout)
    }

    /// Waits until the next attempt may be sent. Fails at the deadline.
    pub(super) async fn ready(&mut self, operation: &'static str) -> Result<(), CallError> {
        let turn = self.attempts.ready();
        let turn = match self.time.left() {
            None => Ok(turn.await),
            Some(left) => tokio::time::timeout(left, turn).await,
        };
        let Ok(turn) = turn else {
            let error = self.last.take();
            let error = error.unwrap_or_else(|| ApiError::unreachable(operation, "its host is failing"));
            return Err(error.with_exhaustion_reason("no time is left for another attempt").into());
        };
        turn.map_err(|exhausted| {
            let error = self.last.take().unwrap_or_else(|| ApiError::unreachable(operation, exhausted.clone()));
            CallError::retries_exhausted(error, exhausted)
        })
    }

    /// Records that the platform responded.
    pub(super) fn answered(&mut self) {
        self.attempts.answered();
    }

    /// Records a failure. Returns `Ok` if the call is to be retried; otherwise the error. Waits if a replica may lag
    /// behind.
    pub(super) async fn failed(&mut self, operation: &'static str, error: ApiError) -> Result<(), CallError> {
        if !error.is_transient() {
            if error.status().is_some() {
                self.attempts.answered();
            }
            let may_lag = error.is_not_found() && self.may_lag(operation);
            if !may_lag {
                return Err(error.into());
            }
            wait(LAG_PAUSE).await;
            return Ok(());
        }
        if self.is_once && !error.is_unsent() {
            return Err(error.into());
        }
        self.attempt += 1;
        let retry_after = error.retry_after();
        let permitted = match error.status() {
            Some(_) => self.attempts.failed_with_response(&error, retry_after),
            None => self.attempts.failed(&error, retry_after),
        };
        match permitted {
            Ok(()) => {
                self.last = Some(error);
                Ok(())
            }
            Err(exhausted) => Err(CallError::retries_exhausted(error, exhausted)),
        }
    }

    /// Returns true if the run of an operation may exist although it was not found.
    fn may_lag(&self, operation: &str) -> bool {
        let reads_a_run = matches!(operation, "get_run" | "list_run_items");
        let in_time = self.start.elapsed() + LAG_PAUSE <= MAX_LAG;
        self.waits_for_replicas && reads_a_run && in_time && self.time.left().is_none_or(|left| LAG_PAUSE < left)
    }
}
