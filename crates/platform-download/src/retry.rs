//! When something is tried again, and when it is given up.

use std::time::Duration;

use tokio::time::Instant;

/// How often something is tried, and how long is waited in between: the wait doubles with every attempt, and chance
/// takes up to half of it, so that many do not come back at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    attempts: u32,
    wait_min: Duration,
    wait_max: Duration,
}

impl Default for RetryPolicy {
    /// Five attempts in all, with waits from 0.1 s to 10 s.
    fn default() -> Self {
        Self { attempts: 5, wait_min: Duration::from_millis(100), wait_max: Duration::from_secs(10) }
    }
}

impl RetryPolicy {
    /// So many attempts in all; at least one is made. Whenever a download has got further, they are counted from the
    /// start.
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
#[derive(Debug)]
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

    /// It has got further: what comes next is a first attempt.
    pub(crate) fn progressed(&mut self) {
        self.number = 1;
    }

    /// Waits until it is time for another attempt; `false` if there is none.
    pub(crate) async fn again<T, E: MayPass>(&mut self, outcome: &Result<T, E>) -> bool {
        let Err(error) = outcome else { return false };
        let chance = error.chance();
        if chance == Chance::None || chance == Chance::Once && self.is_used || self.failed(None).await.is_err() {
            return false;
        }
        tracing::debug!(attempt = self.number, error = error as &dyn std::error::Error, "tried again");
        self.is_used |= chance == Chance::Once;
        true
    }

    /// The same after a failure that may pass: waits no less than the server `asked` for, but not for ever. Otherwise,
    /// how many attempts there were.
    pub(crate) async fn failed(&mut self, asked: Option<Duration>) -> Result<(), u32> {
        let pause = self.policy.pause_after(self.number, fastrand::f64()).ok_or(self.number)?;
        wait(asked.map_or(pause, |asked| asked.clamp(pause, self.policy.wait_max.max(pause)))).await;
        self.number += 1;
        Ok(())
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

/// The slowest that bytes may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MinimumRate {
    pub(crate) bytes: u64,
    pub(crate) window: Duration,
}

impl Default for MinimumRate {
    /// 1 KiB/s over 20 s.
    fn default() -> Self {
        Self { bytes: 20 * 1024, window: Duration::from_secs(20) }
    }
}

/// Finds out whether bytes come too slowly. Only the time counts in which they are waited for.
#[derive(Debug)]
pub(crate) struct Stall {
    rate: MinimumRate,
    left: Duration,
    received: u64,
}

/// Too few bytes came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stalled;

impl Stall {
    pub(crate) fn new(rate: MinimumRate) -> Self {
        Self { rate, left: rate.window, received: 0 }
    }

    /// Waits for the next bytes.
    pub(crate) async fn watch<T>(
        &mut self,
        next: impl Future<Output = T>,
        length: impl Fn(&T) -> u64,
    ) -> Result<T, Stalled> {
        let mut next = std::pin::pin!(next);
        loop {
            let start = Instant::now();
            let came = tokio::time::timeout(self.left, &mut next).await;
            self.left = self.left.saturating_sub(start.elapsed());
            if let Ok(came) = came {
                self.received = self.received.saturating_add(length(&came));
                return Ok(came);
            }
            if self.received < self.rate.bytes {
                return Err(Stalled);
            }
            *self = Self::new(self.rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_chance_takes_up_to_half() {
        let policy =
            RetryPolicy::default().with_attempts(200).with_waits(Duration::from_secs(1), Duration::from_secs(10));
        let waits: Vec<_> = (1..=5).map(|attempt| policy.pause_after(attempt, 0.0).unwrap().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10]);
        assert_eq!(policy.pause_after(199, 1.0), Some(Duration::from_secs(5)));
        assert_eq!(policy.pause_after(200, 0.0), None);
        assert_eq!(policy.with_attempts(0).pause_after(1, 0.0), None);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_trickle_are_a_stall_and_a_slow_reader_is_none() {
        let rate = MinimumRate { bytes: 100, window: Duration::from_secs(10) };
        let after = |seconds, bytes: u64| async move {
            wait(Duration::from_secs(seconds)).await;
            bytes
        };
        let mut stall = Stall::new(rate);
        for _ in 0..10 {
            assert_eq!(stall.watch(after(9, 200), |bytes| *bytes).await, Ok(200), "fast enough");
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        let mut stall = Stall::new(rate);
        for _ in 0..9 {
            assert_eq!(stall.watch(after(1, 1), |bytes| *bytes).await, Ok(1));
        }
        assert_eq!(stall.watch(after(2, 1), |bytes| *bytes).await, Err(Stalled));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_server_asks_for_is_waited_for_but_not_for_ever() {
        let policy = RetryPolicy::default().with_attempts(3).with_waits(Duration::from_secs(1), Duration::from_secs(5));
        let mut attempts = policy.begin();
        let start = Instant::now();
        assert_eq!(attempts.failed(Some(Duration::from_secs(4))).await, Ok(()));
        assert_eq!(start.elapsed().as_secs(), 4);
        assert_eq!(attempts.failed(Some(Duration::from_secs(3600))).await, Ok(()));
        assert_eq!(start.elapsed().as_secs(), 9);
        assert_eq!(attempts.failed(None).await, Err(3));
        attempts.progressed();
        assert_eq!(attempts.failed(None).await, Ok(()));
    }
}
