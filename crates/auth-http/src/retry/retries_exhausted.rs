use std::fmt;
use std::time::Duration;

/// The reason why a transient failure is not retried. `Display` returns a clause that can end an error message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetriesExhausted(Box<Details>);

/// The content of [`RetriesExhausted`]. It is boxed, so that errors that contain a `RetriesExhausted` are small.
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
    /// The host failed for the maximum time without a success.
    TimeLimit,
    /// The shorter limit for hosts that have never responded was reached.
    NeverResponded,
    /// The maximum number of attempts was reached.
    AttemptLimit,
    /// The limit of this request was reached, but not the limit of its host.
    RequestLimit,
    /// The pause that the server requested is longer than the remaining time.
    RetryAfter { retry_after: Duration, remaining: Duration },
    /// The request was not sent, because the host had been failing for too long. `cause` is the last failure.
    Unavailable { host: String, cause: String },
}

impl RetriesExhausted {
    pub(super) fn new(reason: Reason, attempts: u32, elapsed: Duration) -> Self {
        Self(Box::new(Details { reason, attempts, elapsed }))
    }

    /// Returns the number of attempts that were made.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Returns the time since the first failure.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// Returns true if the request reached its [own limit](super::RetryPolicy::with_request_limit). Its host is not
    /// considered down: the caller can continue with other requests, and send this one again later.
    pub fn is_request_limit(&self) -> bool {
        self.0.reason == Reason::RequestLimit
    }

    /// Returns true if the request was not sent because its host had been failing for too long.
    pub fn is_unsent(&self) -> bool {
        matches!(self.0.reason, Reason::Unavailable { .. })
    }
}

impl fmt::Display for RetriesExhausted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = Seconds(self.0.elapsed);
        match &self.0.reason {
            Reason::Disabled => formatter.write_str("not retried"),
            Reason::RetryAfter { retry_after, remaining } => write!(
                formatter,
                "not retried: the server asks to wait for {}, and only {} are left",
                Seconds(*retry_after),
                Seconds(*remaining)
            ),
            Reason::Unavailable { host, cause } => write!(formatter, "{host} has been failing for {elapsed}: {cause}"),
            Reason::NeverResponded => write!(
                formatter,
                "given up after {} attempts in {elapsed}, and the host has not responded before",
                self.0.attempts
            ),
            Reason::TimeLimit | Reason::AttemptLimit | Reason::RequestLimit => {
                write!(formatter, "given up after {} attempts in {elapsed}", self.0.attempts)
            }
        }
    }
}

impl std::error::Error for RetriesExhausted {}

/// A duration in seconds, displayed with one decimal if it is shorter than 10 s.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds < 10.0 { write!(formatter, "{seconds:.1} s") } else { write!(formatter, "{seconds:.0} s") }
    }
}
