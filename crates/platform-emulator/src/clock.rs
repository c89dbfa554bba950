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

/// Returns a time in the resolution of the platform, microseconds.
pub(crate) fn in_microseconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(moment.as_microsecond()).unwrap_or(moment)
}

/// Returns the real time (or tokio's paused time), for durations that clients wait for.
pub(crate) fn monotonic() -> Instant {
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

    pub(crate) fn shift(&self, seconds: i64) {
        let sum = |shift: i64| Some(shift.saturating_add(seconds));
        // The closure always returns a value, so the update cannot fail.
        let _ = self.shift.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
    }

    /// Returns the shifted time, or the unshifted one if it cannot be represented.
    pub(crate) fn now(&self) -> SystemTime {
        let (now, shift) = (self.inner.now(), self.shift.load(Ordering::Relaxed));
        let distance = Duration::from_secs(shift.unsigned_abs());
        let shifted = if shift < 0 { now.checked_sub(distance) } else { now.checked_add(distance) };
        shifted.unwrap_or(now)
    }
}
