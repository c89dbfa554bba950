use std::fmt;
use std::time::Duration;

/// A retry event for the observer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryEvent {
    /// Requests to a host have been failing for longer than the observer's threshold.
    Waiting(Waiting),
    /// Requests to the host succeed again.
    Resumed(Resumed),
}

/// A host that requests wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// The host, with its scheme and port.
    pub host: String,
    /// The last failure, without secrets.
    pub cause: String,
    /// The time since the first failure.
    pub elapsed: Duration,
    /// The time until the next attempt.
    pub next_attempt: Duration,
    /// The time until the retry limit, at which the request fails.
    pub left: Duration,
}

/// A host that responds again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumed {
    /// The host, with its scheme and port.
    pub host: String,
    /// The time since the first failure.
    pub elapsed: Duration,
}

/// An observer of waits, with its threshold.
pub(super) struct Observer {
    pub(super) notice: Duration,
    pub(super) call: Box<dyn Fn(&RetryEvent) + Send + Sync>,
}

impl fmt::Debug for Observer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Observer").field("notice", &self.notice).finish_non_exhaustive()
    }
}
