//! When something is tried again.

use std::time::Duration;

/// How often something is tried, and how long is waited in between: the wait doubles with every attempt, and chance takes up
/// to half of it, so that many do not come back at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    attempts: u32,
    wait_min: Duration,
    wait_max: Duration,
}

impl Default for RetryPolicy {
    /// Five attempts in all, with waits from 0.2 s to 30 s.
    fn default() -> Self {
        Self { attempts: 5, wait_min: Duration::from_millis(200), wait_max: Duration::from_secs(30) }
    }
}

impl RetryPolicy {
    /// So many attempts in all; at least one is made.
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The shortest wait and the longest.
    pub fn with_waits(mut self, min: Duration, max: Duration) -> Self {
        (self.wait_min, self.wait_max) = (min, max);
        self
    }

    /// How long to wait after an attempt, counted from 1; `None` if it was the last.
    fn pause_after(&self, attempt: u32, random: f64) -> Option<Duration> {
        let doubled = self.wait_min.saturating_mul(1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX));
        (attempt < self.attempts).then(|| doubled.min(self.wait_max).mul_f64(1.0 - random / 2.0))
    }

    /// The same for requests that `object_store` makes.
    #[cfg(feature = "object-store")]
    pub(crate) fn for_object_store(&self) -> object_store::RetryConfig {
        let backoff =
            object_store::BackoffConfig { init_backoff: self.wait_min, max_backoff: self.wait_max, base: 2.0 };
        let max_retries = usize::try_from(self.attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        object_store::RetryConfig { backoff, max_retries, ..Default::default() }
    }

    /// The attempts of one thing.
    pub(crate) fn begin(&self) -> Attempts {
        Attempts { policy: *self, number: 1, is_used: false }
    }
}

/// The attempts of one thing that is tried.
pub(crate) struct Attempts {
    policy: RetryPolicy,
    /// That of the attempt that is made, from 1.
    number: u32,
    /// What may pass once has happened.
    is_used: bool,
}

impl Attempts {
    pub(crate) fn is_first(&self) -> bool {
        self.number == 1
    }

    /// Waits until it is time for another attempt; `false` if there is none.
    pub(crate) async fn again<T, E: MayPass>(&mut self, outcome: &Result<T, E>) -> bool {
        let Err(error) = outcome else { return false };
        let chance = error.chance();
        if chance == Chance::None || chance == Chance::Once && self.is_used {
            return false;
        }
        let Some(pause) = self.policy.pause_after(self.number, fastrand::f64()) else { return false };
        tracing::debug!(attempt = self.number, error = error as &dyn std::error::Error, ?pause, "tried again");
        wait(pause).await;
        self.number += 1;
        self.is_used |= chance == Chance::Once;
        true
    }
}

#[expect(clippy::disallowed_methods, reason = "what failed now may succeed later")]
async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}

/// Whether it may be worth to try again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chance {
    None,
    /// Once: a URL is signed anew, bytes were spoilt on the way.
    Once,
    /// As often as is tried at all.
    Always,
}

/// A failure that may not be there the next time.
pub(crate) trait MayPass: std::error::Error + Sized + 'static {
    fn chance(&self) -> Chance;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let policy =
            RetryPolicy::default().with_attempts(40).with_waits(Duration::from_secs(1), Duration::from_secs(10));
        let waits: Vec<_> = (1..=5).map(|attempt| policy.pause_after(attempt, 0.0).unwrap().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10]);
        assert_eq!(policy.pause_after(39, 1.0), Some(Duration::from_secs(5)));
        assert_eq!(policy.pause_after(40, 0.0), None);
        assert_eq!(policy.with_attempts(0).pause_after(1, 0.0), None);
    }
}
