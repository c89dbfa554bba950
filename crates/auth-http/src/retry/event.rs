use std::fmt;
use std::time::Duration;

/// A change in what a client waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryEvent {
    /// Requests to a host have failed for longer than the observer wants to be told about.
    Waiting(Waiting),
    /// Requests to that host succeed again.
    Resumed(Resumed),
}

/// A host that requests wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// The host that fails, with its scheme and its port.
    pub host: String,
    /// The last failure, without secrets.
    pub cause: String,
    /// The time since the first failure.
    pub elapsed: Duration,
    /// The time until the next attempt.
    pub next_attempt: Duration,
    /// The time until requests are given up.
    pub left: Duration,
}

/// A host that answers again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumed {
    /// The host, with its scheme and its port.
    pub host: String,
    /// The time since the first failure.
    pub elapsed: Duration,
}

/// Hears of waits.
pub(super) struct Observer {
    pub(super) notice: Duration,
    pub(super) call: Box<dyn Fn(&RetryEvent) + Send + Sync>,
}

impl fmt::Debug for Observer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Observer").field("notice", &self.notice).finish_non_exhaustive()
    }
}
