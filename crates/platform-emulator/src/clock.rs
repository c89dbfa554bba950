//! The clock of the platform, and real time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use auth_core::Clock;
use jiff::Timestamp;
use tokio::time::{Instant, Sleep, sleep};

/// Waits for the duration of an emulated delay.
#[expect(clippy::disallowed_methods, reason = "this measures elapsed time")]
pub(crate) fn pause(duration: Duration) -> Sleep {
    sleep(duration)
}

/// Returns a time, truncated to microseconds, which are the resolution of the platform.
pub(crate) fn truncated_to_microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// Returns the real time, or tokio's paused time. It measures durations for which clients wait, because clients do not
/// know the clock of the platform.
pub(crate) fn monotonic_now() -> Instant {
    Instant::now()
}

/// A clock with an adjustable offset.
pub(crate) struct ShiftedClock {
    inner: Arc<dyn Clock>,
    /// The offset in seconds.
    shift: AtomicI64,
}

impl ShiftedClock {
    pub(crate) fn new(inner: Arc<dyn Clock>) -> Self {
        Self { inner, shift: AtomicI64::new(0) }
    }

    /// Adds a number of seconds to the offset.
    pub(crate) fn shift(&self, seconds: i64) {
        let add = |shift: i64| Some(shift.saturating_add(seconds));
        // The closure always returns a value, so the update cannot fail.
        let _ = self.shift.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Returns the shifted time, or the unshifted time if the shifted time cannot be represented.
    pub(crate) fn now(&self) -> SystemTime {
        let (now, shift) = (self.inner.now(), self.shift.load(Ordering::Relaxed));
        let distance = Duration::from_secs(shift.unsigned_abs());
        let shifted = if shift < 0 { now.checked_sub(distance) } else { now.checked_add(distance) };
        shifted.unwrap_or(now)
    }
}
