//! The attempts of one storage request. [`auth_http::retry`] decides on retries.

use std::error::Error;
use std::fmt::Display;
use std::ops::ControlFlow;
use std::time::Duration;

use auth_http::retry::GaveUp;
use auth_http::{HttpClient, retry};
use tokio::time::Instant;
use url::Url;

pub use auth_http::retry::RetryPolicy;

/// The time limit for retries of transfers.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Returns the policy for transfers: 30 minutes of uninterrupted failure.
pub(crate) fn for_transfers() -> RetryPolicy {
    RetryPolicy::default().with_limit(LIMIT)
}

/// Returns the policy for the requests of `object_store`.
#[cfg(feature = "object-store")]
pub(crate) fn for_object_store(policy: &RetryPolicy) -> object_store::RetryConfig {
    let waits = policy.backoff();
    let backoff = object_store::BackoffConfig { init_backoff: waits.first(), max_backoff: waits.longest(), base: 2.0 };
    let retries = policy.attempts().map(|attempts| attempts.saturating_sub(1) as usize);
    let max_retries = if policy.is_disabled() { 0 } else { retries.unwrap_or(usize::MAX) };
    object_store::RetryConfig { backoff, max_retries, retry_timeout: policy.limit() }
}

/// The attempts of one request.
#[derive(Debug)]
pub(crate) struct Attempts {
    http: HttpClient,
    policy: RetryPolicy,
    /// `None` until the host is known.
    inner: Option<retry::Attempts>,
    is_first: bool,
    /// The single attempt of [`Retryability::Once`] was made.
    is_used: bool,
}

impl Attempts {
    /// Starts the attempts of a request.
    pub(crate) fn begin(http: &HttpClient, policy: &RetryPolicy) -> Self {
        Self { http: http.clone(), policy: *policy, inner: None, is_first: true, is_used: false }
    }

    /// Sets the host of the request, once it is known.
    pub(crate) fn toward(mut self, url: &Url) -> Self {
        self.inner.get_or_insert_with(|| self.http.attempts(url, &self.policy));
        self
    }

    fn inner(&mut self) -> &mut retry::Attempts {
        self.inner.get_or_insert_with(|| retry::Attempts::alone(&self.policy))
    }

    pub(crate) fn is_first(&self) -> bool {
        self.is_first
    }

    /// Waits until the request may be sent.
    pub(crate) async fn ready(&mut self) -> Result<(), GaveUp> {
        self.inner().ready().await
    }

    /// Records progress. The next failure counts as a first failure.
    pub(crate) fn progressed(&mut self) {
        self.inner().progressed();
        self.is_used = false;
    }

    /// Records a response of the host.
    pub(crate) fn answered(&mut self) {
        self.inner().answered();
    }

    /// Records a failure. Returns the error if the request is not retried.
    pub(crate) fn failed<E: Retryable>(&mut self, error: E) -> Result<(), E> {
        self.is_first = false;
        match error.retryability() {
            Retryability::Always => {}
            Retryability::Once if !self.is_used => {
                self.is_used = true;
                self.answered();
                return Ok(());
            }
            Retryability::Once | Retryability::Never => {
                if error.is_answer() {
                    self.answered();
                }
                return Err(error);
            }
        }
        let (asked, inner) = (error.retry_after(), self.inner());
        tracing::debug!(failures = inner.failures(), error = &error as &dyn Error, "a request failed");
        let cause = Cause(error.host_failure());
        let again = if error.is_answer() { inner.refused(&cause, asked) } else { inner.failed(&cause, asked) };
        again.map_err(|gave_up| error.given_up(gave_up))
    }

    /// Decides on an outcome: it is final, or the request is retried.
    pub(crate) fn judge<T, E: Retryable>(&mut self, outcome: Result<T, E>) -> ControlFlow<Result<T, E>> {
        match outcome {
            Ok(done) => {
                self.answered();
                ControlFlow::Break(Ok(done))
            }
            Err(error) => match self.failed(error) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(Err(error)),
            },
        }
    }
}

/// Returns the end of a message with the reason why a request was not retried.
pub(crate) fn suffix(gave_up: Option<&GaveUp>) -> String {
    gave_up.map(|gave_up| format!(" ({gave_up})")).unwrap_or_default()
}

/// The cause of a failure, for messages about its host.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cause(String);

/// Returns the text of a cause and of its sources.
pub(crate) fn in_full(cause: &impl Display, source: Option<&(dyn Error + 'static)>) -> String {
    let sources = std::iter::successors(source, |&error| error.source());
    sources.fold(cause.to_string(), |text, source| format!("{text}: {source}"))
}

/// The number of retries that a failure permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retryability {
    Never,
    /// One immediate retry: for a new URL signature, or bytes corrupted in transit.
    Once,
    /// Retries within the limits of the policy.
    Always,
}

/// A failure that may be transient.
pub(crate) trait Retryable: Error + Sized + 'static {
    /// Creates the error of a request that was not sent because its host is failing.
    fn unavailable(gave_up: GaveUp) -> Self;

    fn retryability(&self) -> Retryability;

    /// Returns the cause without the file or object, which other requests to the host do not share.
    fn host_failure(&self) -> String;

    /// Returns true if the host responded.
    fn is_answer(&self) -> bool;

    /// Returns the pause that the host requests.
    fn retry_after(&self) -> Option<Duration>;

    /// Adds the reason why the request was not retried.
    fn given_up(self, gave_up: GaveUp) -> Self;
}

/// A minimum transfer rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MinimumRate {
    pub(crate) bytes: u64,
    pub(crate) window: Duration,
}

impl Default for MinimumRate {
    /// Returns 1 KiB/s over 20 s.
    fn default() -> Self {
        Self { bytes: 20 * 1024, window: Duration::from_secs(20) }
    }
}

/// A detector of slow transfers. Only the time spent waiting for bytes counts.
#[derive(Debug)]
pub(crate) struct Stall {
    rate: MinimumRate,
    left: Duration,
    received: u64,
}

/// The error of a transfer below the minimum rate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stalled;

impl Stall {
    pub(crate) fn new(rate: MinimumRate) -> Self {
        Self { rate, left: rate.window, received: 0 }
    }

    /// Waits for `next`, and fails if the transfer is below the minimum rate. `length` returns the number of bytes in
    /// the outcome.
    pub(crate) async fn watch<T>(
        &mut self,
        next: impl Future<Output = T>,
        length: impl Fn(&T) -> u64,
    ) -> Result<T, Stalled> {
        let mut next = std::pin::pin!(next);
        loop {
            let start = Instant::now();
            let came = tokio::time::timeout(self.left, &mut next).await;
            self.left = self.left.saturating_sub(start.elapsed());
            if let Ok(came) = came {
                self.received = self.received.saturating_add(length(&came));
                return Ok(came);
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
    async fn bytes_that_trickle_are_a_stall_and_a_slow_reader_is_none() {
        let rate = MinimumRate { bytes: 100, window: Duration::from_secs(10) };
        #[expect(clippy::disallowed_methods, reason = "under paused time")]
        let after = |seconds, bytes: u64| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            bytes
        };
        let mut stall = Stall::new(rate);
        for _ in 0..10 {
            assert_eq!(stall.watch(after(9, 200), |bytes| *bytes).await, Ok(200), "fast enough");
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        let mut stall = Stall::new(rate);
        for _ in 0..9 {
            assert_eq!(stall.watch(after(1, 1), |bytes| *bytes).await, Ok(1));
        }
        assert_eq!(stall.watch(after(2, 1), |bytes| *bytes).await, Err(Stalled));
    }

    #[cfg(feature = "object-store")]
    #[test]
    fn object_store_takes_its_limits_from_the_policy() {
        let policy = RetryPolicy::default().with_waits(Duration::from_millis(5), Duration::from_secs(7));
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
