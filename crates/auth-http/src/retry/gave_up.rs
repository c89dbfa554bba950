use std::fmt;
use std::time::Duration;

/// The reason why a transient failure is not retried. Its `Display` is a clause for the end of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GaveUp(Box<Details>);

/// Boxed, so that errors which contain it stay small.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Details {
    reason: Reason,
    attempts: u32,
    elapsed: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Retries are disabled.
    Disabled,
    /// The limit of uninterrupted failure is reached.
    Time,
    /// The limit for a host that has never responded is reached.
    Unanswered,
    /// The maximum number of attempts is reached.
    Attempts,
    /// The limit of this request is reached.
    Single,
    /// The server requested a longer pause than the remaining time.
    RetryAfter { retry_after: Duration, left: Duration },
    /// The request was not sent, because the host had been failing for too long, with this cause.
    Unavailable { host: String, cause: String },
}

impl GaveUp {
    pub(super) fn new(reason: Reason, attempts: u32, elapsed: Duration) -> Self {
        Self(Box::new(Details { reason, attempts, elapsed }))
    }

    /// Returns the number of attempts made.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Returns the time since the first failure.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// Returns true if the request reached its [own limit](super::RetryPolicy::with_single_limit). It can be sent again
    /// later: other requests to the host may succeed.
    pub fn is_single(&self) -> bool {
        self.0.reason == Reason::Single
    }

    /// Returns true if the request was not sent because its host had been failing for too long.
    pub fn is_unsent(&self) -> bool {
        matches!(self.0.reason, Reason::Unavailable { .. })
    }
}

impl fmt::Display for GaveUp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = Seconds(self.0.elapsed);
        match &self.0.reason {
            Reason::Disabled => formatter.write_str("not retried"),
            Reason::RetryAfter { retry_after, left } => write!(
                formatter,
                "not retried: the server asks to wait for {}, and only {} are left",
                Seconds(*retry_after),
                Seconds(*left)
            ),
            Reason::Unavailable { host, cause } => write!(formatter, "{host} has been failing for {elapsed}: {cause}"),
            Reason::Unanswered => write!(
                formatter,
                "given up after {} attempts in {elapsed}, and the host has not responded before",
                self.0.attempts
            ),
            Reason::Time | Reason::Attempts | Reason::Single => {
                write!(formatter, "given up after {} attempts in {elapsed}", self.0.attempts)
            }
        }
    }
}

impl std::error::Error for GaveUp {}

/// A duration, displayed with one decimal where useful.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds < 10.0 { write!(formatter, "{seconds:.1} s") } else { write!(formatter, "{seconds:.0} s") }
    }
}
