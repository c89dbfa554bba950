use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use auth_core::Clock;

/// A clock for tests. Its time changes only if [`advance`](Self::advance) or [`set`](Self::set) is called.
///
/// ```
/// use std::time::Duration;
/// use auth_core::Clock;
/// use platform_testkit::ManualClock;
///
/// let clock = ManualClock::default();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), before + Duration::from_secs(60));
/// ```
#[derive(Debug)]
pub struct ManualClock(Mutex<SystemTime>);

impl ManualClock {
    /// Creates a clock at `now`.
    pub fn new(now: SystemTime) -> Self {
        Self(Mutex::new(now))
    }

    /// Advances the clock.
    pub fn advance(&self, time: Duration) {
        self.set(self.now() + time);
    }

    /// Sets the time, which may be before the current time.
    pub fn set(&self, now: SystemTime) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

impl Default for ManualClock {
    /// Starts at 2001-09-09, 01:46:40 UTC: a billion seconds after 1970.
    fn default() -> Self {
        Self::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
