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

/// The maximum time until a new run is found. Reads lag behind writes.
const MAX_LAG: Duration = Duration::from_secs(5);
/// The pause before a missing run is requested again.
const LAG_PAUSE: Duration = Duration::from_millis(250);

/// The start and the deadline of a call.
#[derive(Clone, Copy)]
pub(super) struct CallTime {
    start: Instant,
    deadline: Option<Duration>,
}

impl CallTime {
    pub(super) fn starting_now(mode: &Mode) -> Self {
        Self { start: Instant::now(), deadline: mode.deadline }
    }

    /// Returns the remaining time, or `None` without a deadline.
    pub(super) fn remaining(self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_sub(self.start.elapsed()))
    }

    /// Limits `time` to the remaining time.
    pub(super) fn cap_to_remaining(self, time: Duration) -> Duration {
        self.remaining().map_or(time, |remaining_time| remaining_time.min(time))
    }
}

/// The attempts of one call.
pub(super) struct RetryState<'a> {
    settings: &'a OperationSettings,
    attempts: Attempts,
    time: CallTime,
    /// The start of the first attempt.
    start: Instant,
    waits_for_replicas: bool,
    /// True if the request must not be sent again after a byte was sent.
    is_sent_once: bool,
    attempt: u32,
    /// The last failure. It is returned if no time is left for another attempt.
    last_error: Option<ApiError>,
}

impl<'a> RetryState<'a> {
    pub(super) fn new(settings: &'a OperationSettings, mode: &Mode, time: CallTime, attempts: Attempts) -> Self {
        let waits_for_replicas = !mode.no_wait;
        let start = Instant::now();
        Self { settings, attempts, time, start, waits_for_replicas, is_sent_once: false, attempt: 1, last_error: None }
    }

    /// Marks a request that must not be sent twice.
    pub(super) fn sent_once(self) -> Self {
        Self { is_sent_once: true, ..self }
    }

    pub(super) fn time(&self) -> CallTime {
        self.time
    }

    /// Returns the number of the current attempt. The first attempt is 1.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the timeout of the current attempt.
    pub(super) fn timeout(&self) -> Duration {
        self.time.cap_to_remaining(self.settings.timeout)
    }

    /// Waits until the next attempt may be sent. Fails at the deadline.
    pub(super) async fn wait_for_turn(&mut self, operation: &'static str) -> Result<(), CallError> {
        let turn = self.attempts.wait_until_ready();
        let turn = match self.time.remaining() {
            None => Ok(turn.await),
            Some(remaining_time) => tokio::time::timeout(remaining_time, turn).await,
        };
        let Ok(turn) = turn else {
            let error = self.last_error.take();
            let error = error.unwrap_or_else(|| ApiError::unreachable(operation, "its host is failing"));
            return Err(error.with_exhaustion_reason("no time is left for another attempt").into());
        };
        turn.map_err(|exhausted| {
            let error = self.last_error.take().unwrap_or_else(|| ApiError::unreachable(operation, exhausted.clone()));
            CallError::retries_exhausted(error, exhausted)
        })
    }

    /// Records that the platform responded.
    pub(super) fn record_response(&mut self) {
        self.attempts.record_response();
    }

    /// Records a failure. Returns `Ok` if the call is retried, and the error otherwise. If a replica may lag behind,
    /// waits before it returns.
    pub(super) async fn record_failure(&mut self, operation: &'static str, error: ApiError) -> Result<(), CallError> {
        if !error.is_transient() {
            if error.status().is_some() {
                self.attempts.record_response();
            }
            let may_lag = error.is_not_found() && self.may_lag(operation);
            if !may_lag {
                return Err(error.into());
            }
            wait(LAG_PAUSE).await;
            return Ok(());
        }
        if self.is_sent_once && !error.is_unsent() {
            return Err(error.into());
        }
        self.attempt += 1;
        let retry_after = error.retry_after();
        let retry_permission = match error.status() {
            Some(_) => self.attempts.record_failure_response(&error, retry_after),
            None => self.attempts.record_failure(&error, retry_after),
        };
        match retry_permission {
            Ok(()) => {
                self.last_error = Some(error);
                Ok(())
            }
            Err(exhausted) => Err(CallError::retries_exhausted(error, exhausted)),
        }
    }

    /// Returns true if the run of an operation may exist although it was not found.
    fn may_lag(&self, operation: &str) -> bool {
        let is_run_read = matches!(operation, "get_run" | "list_run_items");
        let is_within_max_lag = self.start.elapsed() + LAG_PAUSE <= MAX_LAG;
        self.waits_for_replicas
            && is_run_read
            && is_within_max_lag
            && self.time.remaining().is_none_or(|remaining_time| LAG_PAUSE < remaining_time)
    }
}
