use std::time::Duration;

/// Exponential backoff with full jitter: the pause before a retry is random, up to a bound that doubles with every
/// failure. The caller supplies the random number and waits; this type only computes.
///
/// Full jitter spreads the retries of many clients over the time from zero to the bound, so that they do not overload a
/// recovering server at the same time.
///
/// ```
/// use std::time::Duration;
/// use auth_core::Backoff;
///
/// let backoff = Backoff::default();
/// assert_eq!(backoff.bound(1), Duration::from_millis(250));
/// assert_eq!(backoff.bound(3), Duration::from_secs(1));
/// assert_eq!(backoff.bound(100), Duration::from_secs(30));
/// assert_eq!(backoff.pause(3, 0.5), Duration::from_millis(500));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first_bound: Duration,
    max_bound: Duration,
}

impl Default for Backoff {
    /// Creates a backoff whose bound is 250 ms after the first failure, and at most 30 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(250), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Creates a backoff whose bound is `first_bound` after one failure, doubles with each further failure, and never
    /// exceeds `max_bound`.
    pub const fn new(first_bound: Duration, max_bound: Duration) -> Self {
        Self { first_bound, max_bound }
    }

    /// Returns the bound after one failure.
    pub const fn first_bound(&self) -> Duration {
        self.first_bound
    }

    /// Returns the maximum bound.
    pub const fn max_bound(&self) -> Duration {
        self.max_bound
    }

    /// Returns the maximum pause after this number of consecutive failures, counted from 1. Unlike the result of
    /// [`pause`](Self::pause), the bound is not random: use it for a pause whose length is announced in advance.
    pub fn bound(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first_bound.saturating_mul(factor).min(self.max_bound)
    }

    /// Returns the pause after this number of consecutive failures, counted from 1. `random` is a random number from 0
    /// to 1; values outside this range are clamped.
    ///
    /// # Panics
    ///
    /// `random` is NaN.
    pub fn pause(&self, failures: u32, random: f64) -> Duration {
        self.bound(failures).mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_doubles_up_to_the_maximum() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let bounds: Vec<_> = (0..=6).map(|failures| backoff.bound(failures).as_secs()).collect();
        assert_eq!(bounds, [1, 1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.bound(u32::MAX), Duration::from_secs(10));
        let max_backoff = Backoff::new(Duration::MAX, Duration::MAX);
        assert_eq!(max_backoff.bound(40), Duration::MAX);
    }

    #[test]
    fn pause_ranges_from_zero_to_the_bound() {
        let backoff = Backoff::default();
        assert_eq!(backoff.pause(5, 0.0), Duration::ZERO);
        assert_eq!(backoff.pause(5, 0.25), Duration::from_secs(1));
        assert_eq!(backoff.pause(5, 1.0), backoff.bound(5));
        assert_eq!(backoff.pause(1, f64::INFINITY), backoff.bound(1), "never more than the bound");
    }
}
