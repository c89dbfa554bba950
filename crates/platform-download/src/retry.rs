//! Retries of storage requests, and detection of slow transfers. [`auth_http::retry`] decides whether to retry, and
//! when.

use std::error::Error;
use std::fmt::Display;
use std::ops::ControlFlow;
use std::time::Duration;

use auth_http::retry::RetriesExhausted;
use auth_http::{HttpClient, retry};
use tokio::time::Instant;
use url::Url;

pub use auth_http::retry::RetryPolicy;

/// The maximum time of uninterrupted failure after which a transfer is no longer retried.
const RETRY_TIME_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Returns the default policy for transfers: retries for up to 30 minutes of uninterrupted failure.
pub(crate) fn for_transfers() -> RetryPolicy {
    RetryPolicy::default().with_limit(RETRY_TIME_LIMIT)
}

/// Returns the equivalent of `policy` for the requests of the `object_store` crate.
#[cfg(feature = "object-store")]
pub(crate) fn for_object_store(policy: &RetryPolicy) -> object_store::RetryConfig {
    let pauses = policy.backoff();
    let backoff =
        object_store::BackoffConfig { init_backoff: pauses.first_bound(), max_backoff: pauses.max_bound(), base: 2.0 };
    let retries = policy.attempts().map(|attempts| attempts.saturating_sub(1) as usize);
    let max_retries = if policy.is_disabled() { 0 } else { retries.unwrap_or(usize::MAX) };
    object_store::RetryConfig { backoff, max_retries, retry_timeout: policy.limit() }
}

/// The attempts of one storage request.
#[derive(Debug)]
pub(crate) struct Attempts {
    http: HttpClient,
    policy: RetryPolicy,
    /// `None` until the host of the request is known.
    inner: Option<retry::Attempts>,
    is_first: bool,
    /// True if the single retry of [`Retryability::Once`] was made.
    has_retried_once: bool,
}

impl Attempts {
    /// Starts the attempts of a request.
    pub(crate) fn begin(http: &HttpClient, policy: &RetryPolicy) -> Self {
        Self { http: http.clone(), policy: *policy, inner: None, is_first: true, has_retried_once: false }
    }

    /// Sets the host of the request to the host of `url`, unless it is set. Requests to the same host share their
    /// pauses.
    pub(crate) fn with_host_of(mut self, url: &Url) -> Self {
        self.inner.get_or_insert_with(|| self.http.attempts(url, &self.policy));
        self
    }

    fn inner(&mut self) -> &mut retry::Attempts {
        self.inner.get_or_insert_with(|| retry::Attempts::without_host(&self.policy))
    }

    pub(crate) fn is_first(&self) -> bool {
        self.is_first
    }

    /// Waits until the next attempt may be sent. Fails if no other attempt is permitted.
    pub(crate) async fn wait_until_ready(&mut self) -> Result<(), RetriesExhausted> {
        self.inner().wait_until_ready().await
    }

    /// Records that the transfer made progress, which resets the count and the time of failures.
    pub(crate) fn record_progress(&mut self) {
        self.inner().record_progress();
        self.has_retried_once = false;
    }

    /// Records that the host responded, so that it does not count as unreachable.
    pub(crate) fn record_response(&mut self) {
        self.inner().record_response();
    }

    /// Records a failure. Returns `Ok` if the request is to be retried, and otherwise the error.
    pub(crate) fn record_failure<E: Retryable>(&mut self, error: E) -> Result<(), E> {
        self.is_first = false;
        match error.retryability() {
            Retryability::Always => {}
            Retryability::Once if !self.has_retried_once => {
                self.has_retried_once = true;
                self.record_response();
                return Ok(());
            }
            Retryability::Once | Retryability::Never => {
                if error.has_response() {
                    self.record_response();
                }
                return Err(error);
            }
        }
        let (retry_after, inner) = (error.retry_after(), self.inner());
        tracing::debug!(failures = inner.failures(), error = &error as &dyn Error, "a request failed");
        let cause = Cause(error.host_failure());
        let retry = if error.has_response() {
            inner.record_failure_response(&cause, retry_after)
        } else {
            inner.record_failure(&cause, retry_after)
        };
        retry.map_err(|exhausted| error.retries_exhausted(exhausted))
    }

    /// Returns `Break` if the outcome of an attempt is final, and `Continue` if the request is to be retried.
    pub(crate) fn evaluate<T, E: Retryable>(&mut self, outcome: Result<T, E>) -> ControlFlow<Result<T, E>> {
        match outcome {
            Ok(value) => {
                self.record_response();
                ControlFlow::Break(Ok(value))
            }
            Err(error) => match self.record_failure(error) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(Err(error)),
            },
        }
    }
}

/// Returns the end of an error message with the reason why a request was no longer retried.
pub(crate) fn exhaustion_suffix(exhausted: Option<&RetriesExhausted>) -> String {
    exhausted.map(|exhausted| format!(" ({exhausted})")).unwrap_or_default()
}

/// The cause of a failure, without the affected file. It appears in messages about the host.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cause(String);

/// Returns the message of an error and of all its sources, separated by colons.
pub(crate) fn message_with_sources(cause: &impl Display, source: Option<&(dyn Error + 'static)>) -> String {
    let sources = std::iter::successors(source, |&error| error.source());
    sources.fold(cause.to_string(), |text, source| format!("{text}: {source}"))
}

/// The number of retries that a failure permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retryability {
    Never,
    /// One immediate retry, because a new URL signature or a new transfer may succeed.
    Once,
    /// Retries within the limits of the policy.
    Always,
}

/// An error of a request that [`Attempts`] can retry.
pub(crate) trait Retryable: Error + Sized + 'static {
    /// Creates the error for a request that was not sent, because its host has been failing for too long.
    fn unavailable(exhausted: RetriesExhausted) -> Self;

    fn retryability(&self) -> Retryability;

    /// Returns the cause without the file or object. It also applies to other requests to the same host.
    fn host_failure(&self) -> String;

    /// Returns true if the host responded.
    fn has_response(&self) -> bool;

    /// Returns the pause that the host requested before a retry.
    fn retry_after(&self) -> Option<Duration>;

    /// Adds the reason why the request was not retried.
    fn retries_exhausted(self, exhausted: RetriesExhausted) -> Self;
}

/// A minimum transfer rate: at least `bytes` bytes per `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MinimumRate {
    pub(crate) bytes: u64,
    pub(crate) window: Duration,
}

impl Default for MinimumRate {
    /// Returns a rate of 20 KiB per 20 s.
    fn default() -> Self {
        Self { bytes: 20 * 1024, window: Duration::from_secs(20) }
    }
}

/// A detector of transfers below a minimum rate. It counts only the time spent waiting for bytes.
#[derive(Debug)]
pub(crate) struct StallDetector {
    rate: MinimumRate,
    remaining: Duration,
    received: u64,
}

/// The error for a transfer below the minimum rate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stalled;

impl StallDetector {
    pub(crate) fn new(rate: MinimumRate) -> Self {
        Self { rate, remaining: rate.window, received: 0 }
    }

    /// Waits for `next`, and fails if the transfer falls below the minimum rate. `length` returns the number of bytes
    /// in the output of `next`.
    pub(crate) async fn watch<T>(
        &mut self,
        next: impl Future<Output = T>,
        length: impl Fn(&T) -> u64,
    ) -> Result<T, Stalled> {
        let mut next = std::pin::pin!(next);
        loop {
            let start = Instant::now();
            let outcome = tokio::time::timeout(self.remaining, &mut next).await;
            self.remaining = self.remaining.saturating_sub(start.elapsed());
            if let Ok(outcome) = outcome {
                self.received = self.received.saturating_add(length(&outcome));
                return Ok(outcome);
            }
            if self.received < self.rate.bytes {
                return Err(Stalled);
            }
            *self = Self::new(self.rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slow_transfer_is_stalled_but_slow_reader_is_not() {
        let rate = MinimumRate { bytes: 100, window: Duration::from_secs(10) };
        #[expect(clippy::disallowed_methods, reason = "under paused time")]
        let bytes_after = |seconds, bytes: u64| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            bytes
        };
        let mut stall = StallDetector::new(rate);
        for _ in 0..10 {
            assert_eq!(stall.watch(bytes_after(9, 200), |bytes| *bytes).await, Ok(200), "fast enough");
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        let mut stall = StallDetector::new(rate);
        for _ in 0..9 {
            assert_eq!(stall.watch(bytes_after(1, 1), |bytes| *bytes).await, Ok(1));
        }
        assert_eq!(stall.watch(bytes_after(2, 1), |bytes| *bytes).await, Err(Stalled));
    }

    #[cfg(feature = "object-store")]
    #[test]
    fn object_store_takes_its_limits_from_the_policy() {
        let policy = RetryPolicy::default().with_backoff(Duration::from_millis(5), Duration::from_secs(7));
        let config = for_object_store(&policy);
        assert_eq!((config.retry_timeout, config.max_retries), (Duration::from_secs(300), usize::MAX));
        assert_eq!(
            (config.backoff.init_backoff, config.backoff.max_backoff),
            (Duration::from_millis(5), Duration::from_secs(7))
        );
        assert_eq!(for_object_store(&policy.with_attempts(4)).max_retries, 3);
        assert_eq!(for_object_store(&policy.with_limit(Duration::ZERO)).max_retries, 0);
    }
}
