use std::fmt;
use std::time::SystemTime;

/// The wall clock, injected so that tests own the time.
///
/// Expiry is a matter of wall-clock time, because tokens travel between processes and machines.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present moment.
    fn now(&self) -> SystemTime;
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the time")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
