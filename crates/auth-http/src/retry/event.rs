use std::fmt;
use std::time::Duration;

/// An event that the observer of [`Hosts`](super::Hosts) is notified of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryEvent {
    /// Requests to a host have been failing for longer than the observer's threshold.
    Waiting(Waiting),
    /// Requests to the host succeed again.
    Resumed(Resumed),
}

/// A wait of requests for a failing host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// The host, with its scheme and port.
    pub host: String,
    /// The message of the last failure, without secrets.
    pub cause: String,
    /// The time since the first failure.
    pub elapsed: Duration,
    /// The time until the next attempt.
    pub next_attempt: Duration,
    /// The time until the retry limit is reached and the request fails.
    pub left: Duration,
}

/// The end of a wait: the host responds again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumed {
    /// The host, with its scheme and port.
    pub host: String,
    /// The time since the first failure.
    pub elapsed: Duration,
}

/// An observer of waits.
pub(super) struct Observer {
    /// The minimum duration of a wait that the observer is notified of.
    pub(super) threshold: Duration,
    pub(super) call: Box<dyn Fn(&RetryEvent) + Send + Sync>,
}

impl fmt::Debug for Observer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Observer").field("threshold", &self.threshold).finish_non_exhaustive()
    }
}
