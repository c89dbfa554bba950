use std::time::Duration;

use auth_core::Backoff;

/// The maximum limit, 10 years, because `Instant` cannot represent arbitrary times.
const MAX_LIMIT: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The limits and the backoff for retries of transient failures. The default is suitable for a short request.
///
/// ```
/// use std::time::Duration;
/// use auth_http::retry::RetryPolicy;
///
/// let transfers = RetryPolicy::default().with_limit(Duration::from_secs(30 * 60));
/// let none = RetryPolicy::default().with_limit(Duration::ZERO);
/// assert!(none.is_disabled() && !transfers.is_disabled());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    limit: Duration,
    unanswered_limit: Duration,
    request_limit: Option<Duration>,
    max_attempts: Option<u32>,
    backoff: Backoff,
}

impl Default for RetryPolicy {
    /// Creates a policy with a limit of 5 minutes of uninterrupted failure, a limit of 60 s for a host that has not
    /// responded since the process started, and pauses of up to 30 s.
    fn default() -> Self {
        Self {
            limit: Duration::from_secs(5 * 60),
            unanswered_limit: Duration::from_secs(60),
            request_limit: None,
            max_attempts: None,
            backoff: Backoff::default(),
        }
    }
}

impl RetryPolicy {
    /// Sets the maximum time of uninterrupted failure, at most 10 years. The default is 5 minutes; zero disables
    /// retries.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit.min(MAX_LIMIT);
        self
    }

    /// Sets the maximum time of failure of a host that has not responded since the process started. The limit should be
    /// shorter, because the host name may be wrong. The default is 60 s. The [general limit](Self::with_limit) also
    /// applies.
    #[must_use]
    pub fn with_first_response_limit(mut self, limit: Duration) -> Self {
        self.unanswered_limit = limit.min(MAX_LIMIT);
        self
    }

    /// Sets the maximum time of uninterrupted failure for one request. When it is reached, the caller can do other work
    /// and send the request later: other requests to the host may succeed in the meantime. The default is the
    /// [general limit](Self::with_limit).
    #[must_use]
    pub fn with_request_limit(mut self, limit: Duration) -> Self {
        self.request_limit = Some(limit.min(MAX_LIMIT));
        self
    }

    /// Sets the maximum number of attempts; 1 disables retries. Attempts are not limited by default.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Sets the backoff: the maximum pause after the first failure, and the maximum pause after any failure. The
    /// defaults are 250 ms and 30 s.
    #[must_use]
    pub fn with_backoff(mut self, first_bound: Duration, max_bound: Duration) -> Self {
        self.backoff = Backoff::new(first_bound, max_bound);
        self
    }

    /// Returns the maximum time of uninterrupted failure.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Returns the maximum time of failure of a host that has not responded since the process started.
    pub fn unanswered_limit(&self) -> Duration {
        self.unanswered_limit
    }

    /// Returns the maximum number of attempts, if limited.
    pub fn attempts(&self) -> Option<u32> {
        self.max_attempts
    }

    /// Returns the backoff between attempts.
    pub fn backoff(&self) -> Backoff {
        self.backoff
    }

    /// Returns true if failures are not retried.
    pub fn is_disabled(&self) -> bool {
        self.limit.is_zero() || self.max_attempts.is_some_and(|attempts| attempts <= 1)
    }

    /// Returns the limit for a host, which depends on whether the host has responded since the process started.
    pub(super) fn limit_for(&self, has_responded: bool) -> Duration {
        if has_responded { self.limit } else { self.limit.min(self.unanswered_limit) }
    }

    /// Returns the maximum time of uninterrupted failure for one request. It defaults to the general limit.
    pub fn request_limit(&self) -> Duration {
        self.request_limit.unwrap_or(self.limit)
    }
}
