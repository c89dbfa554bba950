//! Timeouts of network operations.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// The maximum delay of a timer in a running process. A longer delay means that the process was stopped.
const MAX_DELAY: Duration = Duration::from_secs(1);
/// The additional time to read the data that arrived while the process was stopped.
const CATCH_UP_TIME: Duration = Duration::from_secs(5);

/// The maximum timeout, 30 years, because `Instant` cannot represent arbitrary times.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The time at which a request with a timeout must have ended, including its response body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) timeout: Duration,
    pub(crate) end: Instant,
}

impl Deadline {
    /// Returns the deadline of a request that starts now.
    pub(crate) fn after(timeout: Duration) -> Self {
        Self { timeout, end: instant_after(timeout) }
    }
}

/// Waits until the deadline, and returns its timeout. Without a deadline, waits forever.
pub(crate) async fn wait_for_deadline(deadline: Option<Deadline>) -> Duration {
    let Some(Deadline { timeout, end }) = deadline else { return std::future::pending().await };
    run_until(end, std::future::pending::<()>()).await;
    timeout
}

/// Returns the time at which `timeout` ends if it starts now.
pub(crate) fn instant_after(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(FAR_FUTURE)
}

/// Runs `work` until `end`, and returns `None` if it has not completed. If the process was stopped at `end`, for
/// example by SIGSTOP, `work` runs for another 5 s, because its data may have arrived while the process was stopped.
pub(crate) async fn run_until<T>(mut end: Instant, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    loop {
        if let Ok(result) = timeout_at(end, work.as_mut()).await {
            return Some(result);
        }
        let now = Instant::now();
        if now < end + MAX_DELAY {
            return None;
        }
        end = now + CATCH_UP_TIME;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_is_dropped_at_the_deadline() {
        let start = Instant::now();
        assert_eq!(run_until(start + Duration::from_secs(30), std::future::pending::<()>()).await, None);
        assert_eq!(start.elapsed().as_secs(), 30);
        assert_eq!(run_until(start, std::future::ready(1)).await, Some(1));
    }

    /// The executor runs again 40 s after the deadline. Another task must run before the work can complete.
    #[tokio::test(start_paused = true)]
    async fn process_that_was_stopped_gets_time_to_read_its_data() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let start = Instant::now();
        let waiting = tokio::spawn(run_until(start + Duration::from_secs(30), receiver));
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(70)).await;
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "the work may continue");
        sender.send(1).unwrap();
        assert_eq!(waiting.await.unwrap(), Some(Ok(1)));
    }
}
