//! A clock whose time changes only by calls of `advance`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use auth_core::{Clock, SystemClock};

#[derive(Debug)]
pub(crate) struct ManualClock(Mutex<SystemTime>);

impl ManualClock {
    /// Starts at the time of the system, because a real provider issues its tokens for this time.
    pub(crate) fn start() -> Self {
        Self(Mutex::new(SystemClock.now()))
    }

    pub(crate) fn advance(&self, time: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
