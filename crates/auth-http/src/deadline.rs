//! Time limits for work that other machines do.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// The maximum delay of a timer in a process that runs.
const MAX_DELAY: Duration = Duration::from_secs(1);
/// The time to read what arrived while the process was stopped.
const CATCH_UP_TIME: Duration = Duration::from_secs(5);

/// The end of a limit that does not end in practice: 30 years.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The end of a request with a timeout, response body included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) limit: Duration,
    pub(crate) end: Instant,
}

impl Deadline {
    /// Returns the deadline of a request that starts now.
    pub(crate) fn after(limit: Duration) -> Self {
        Self { limit, end: after(limit) }
    }
}

/// Completes at the deadline, if there is one, and returns its limit.
pub(crate) async fn expiry(deadline: Option<Deadline>) -> Duration {
    let Some(Deadline { limit, end }) = deadline else { return std::future::pending().await };
    until(end, std::future::pending::<()>()).await;
    limit
}

/// Returns the time after `limit` from now.
pub(crate) fn after(limit: Duration) -> Instant {
    Instant::now() + limit.min(FAR_FUTURE)
}

/// Waits for `work` until `end`, and returns `None` if it has not completed. If the process was stopped at `end`, as by
/// SIGSTOP or a suspended job, it continues for 5 s: the result may have arrived in the meantime, and its timer would
/// otherwise win.
pub(crate) async fn until<T>(mut end: Instant, work: impl Future<Output = T>) -> Option<T> {
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
    async fn work_ends_at_the_limit() {
        let start = Instant::now();
        assert_eq!(until(start + Duration::from_secs(30), std::future::pending::<()>()).await, None);
        assert_eq!(start.elapsed().as_secs(), 30);
        assert_eq!(until(start, std::future::ready(1)).await, Some(1));
    }

    /// The executor runs again 40 s after the limit, and another task has to run before the work can complete.
    #[tokio::test(start_paused = true)]
    async fn stopped_process_reads_what_arrived() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let start = Instant::now();
        let waiting = tokio::spawn(until(start + Duration::from_secs(30), receiver));
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(70)).await;
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "it has time to read");
        sender.send(1).unwrap();
        assert_eq!(waiting.await.unwrap(), Some(Ok(1)));
    }
}
