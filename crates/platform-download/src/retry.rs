use std::time::Duration;

use tokio::time::Instant;

/// How often, and after which pauses, a request is sent again that failed for a reason which may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    attempts: u32,
    pauses: (Duration, Duration),
}

impl Default for RetryPolicy {
    /// Six attempts without progress, with pauses from 100 ms to 10 s between them.
    fn default() -> Self {
        Self { attempts: 6, pauses: (Duration::from_millis(100), Duration::from_secs(10)) }
    }
}

impl RetryPolicy {
    /// So many attempts in all, at least one. Whenever bytes have come, they are counted from the start.
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// The pause after the first failure, which doubles with every other, and the longest.
    pub fn with_pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.pauses = (first, longest.max(first));
        self
    }

    /// Chance takes up to half of a pause, so that many do not come back at once.
    fn pause(&self, failures: u32, random: f64) -> Duration {
        let doubled = self.pauses.0.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
        doubled.min(self.pauses.1).mul_f64(1.0 - random / 2.0)
    }
}

/// The attempts at one part of a file.
#[derive(Debug)]
pub(crate) struct Attempts {
    policy: RetryPolicy,
    failures: u32,
}

impl Attempts {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self { policy, failures: 0 }
    }

    pub(crate) fn progressed(&mut self) {
        self.failures = 0;
    }

    /// Waits, if there is to be another attempt after this failure: no less than `asked`, but not for ever. Otherwise, how
    /// many there were.
    pub(crate) async fn failed(&mut self, asked: Option<Duration>) -> Result<(), u32> {
        self.failures += 1;
        if self.failures >= self.policy.attempts {
            return Err(self.failures);
        }
        let pause = self.policy.pause(self.failures, fastrand::f64());
        wait(asked.map_or(pause, |asked| asked.clamp(pause, self.policy.pauses.1.max(pause)))).await;
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "what failed now may succeed later")]
async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
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
    fn pauses_double_up_to_the_longest_and_chance_takes_up_to_half() {
        let policy = RetryPolicy::default().with_pauses(Duration::from_secs(1), Duration::from_secs(5));
        let pauses: Vec<_> = (1..=5).map(|failures| policy.pause(failures, 0.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5]);
        assert_eq!(policy.pause(3, 1.0), Duration::from_secs(2));
        assert_eq!(policy.pause(200, 0.0), Duration::from_secs(5));
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
        let policy =
            RetryPolicy::default().with_attempts(3).with_pauses(Duration::from_secs(1), Duration::from_secs(5));
        let mut attempts = Attempts::new(policy);
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
