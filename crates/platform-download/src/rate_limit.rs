use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The maximum period of unused capacity that can be used later. It compensates for the inaccuracy of timers.
const MAX_BURST: Duration = Duration::from_millis(100);

/// A limit for the total rate of all transfers that share it. Clones share the limit.
#[derive(Clone, Debug)]
pub struct RateLimit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes_per_second: NonZeroU64,
    /// The time at which the next bytes may be transferred.
    due: Mutex<Instant>,
}

impl RateLimit {
    /// Creates a limit of `bytes_per_second`.
    pub fn new(bytes_per_second: NonZeroU64) -> Self {
        Self(Arc::new(Inner { bytes_per_second, due: Mutex::new(Instant::now()) }))
    }

    /// Waits until `bytes` more bytes may be transferred.
    pub(crate) async fn wait(&self, bytes: u64) {
        let due = {
            let mut due = self.0.due.lock().unwrap_or_else(PoisonError::into_inner);
            let start = Instant::now().checked_sub(MAX_BURST).map_or(*due, |earliest| due.max(earliest));
            *due = start + self.duration(bytes);
            *due
        };
        sleep_until(due).await;
    }

    /// Returns the maximum number of bytes to request at a time: the bytes of 1/16 second. With small requests,
    /// concurrent transfers have no long pauses.
    pub(crate) fn max_chunk(&self) -> u64 {
        (self.0.bytes_per_second.get() / 16).max(1)
    }

    fn duration(&self, bytes: u64) -> Duration {
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.0.bytes_per_second.get());
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn transfers_share_one_limit() {
        let limit = RateLimit::new(NonZeroU64::new(1000).unwrap());
        let start = Instant::now();
        let transfers = (0..10).map(|_| async {
            for _ in 0..10 {
                limit.wait(100).await;
            }
        });
        join_all(transfers).await;
        let elapsed = start.elapsed();
        assert!((Duration::from_millis(9800)..Duration::from_millis(10_200)).contains(&elapsed), "{elapsed:?}");
        // Capacity that was not used while idle is limited to `MAX_BURST`.
        tokio::time::advance(Duration::from_secs(60)).await;
        let start = Instant::now();
        limit.wait(1000).await;
        assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    }
}
