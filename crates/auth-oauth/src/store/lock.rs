use std::fs::{File, OpenOptions, TryLockError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::entry::Entry;
use super::error::StoreError;
use super::file;

/// Attempts are so far apart, and up to twice as far by chance, so that those who wait do not ask in
/// step: short beside a renewal, which takes a network round trip, and long beside a look at a file.
const PAUSE: Duration = Duration::from_millis(25);

/// The lock of one key, held until it is dropped, or the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    turn: Mutex<()>,
}

impl Lock {
    /// Takes the lock, if it is free. The folder is created if need be.
    pub(super) fn attempt(entry: &Entry) -> Result<Option<Self>, StoreError> {
        entry.folder().ensure()?;
        let path = entry.lock_path();
        let file = file::open(OpenOptions::new().write(true).create(true).truncate(false), &path, "opened")?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file, turn: Mutex::default() })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(StoreError::lock(&path, error)),
        }
    }

    /// The turn among those in this process who share the lock. It is kept for a look at files only.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lock {
    /// By name, as a child that was started at this moment may have the file open for a while.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

/// Repeats `attempt` until it takes a lock of `entry`, or `bound` is over.
pub(super) async fn until_taken<T: Send + 'static>(
    entry: &Entry,
    bound: Duration,
    attempt: impl Fn() -> Result<Option<T>, StoreError> + Clone + Send + 'static,
) -> Result<T, StoreError> {
    let start = Instant::now();
    loop {
        if let Some(taken) = off_worker(attempt.clone()).await? {
            return Ok(taken);
        }
        let pause = pause(start.elapsed(), bound).ok_or_else(|| StoreError::busy(entry.lock_path(), bound))?;
        #[expect(clippy::disallowed_methods, reason = "a file lock announces nothing: polling is the protocol")]
        tokio::time::sleep(pause).await;
    }
}

/// The same, on a thread that may wait. Its pauses are its measure of time: no clock that a test has
/// stopped, or a user has set, makes it wait longer.
pub(super) fn until_taken_blocking<T>(
    entry: &Entry,
    bound: Duration,
    attempt: impl Fn() -> Result<Option<T>, StoreError>,
) -> Result<T, StoreError> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(taken) = attempt()? {
            return Ok(taken);
        }
        let pause = pause(waited, bound).ok_or_else(|| StoreError::busy(entry.lock_path(), bound))?;
        #[expect(clippy::disallowed_methods, reason = "a file lock announces nothing: polling is the protocol")]
        std::thread::sleep(pause);
        waited += pause;
    }
}

/// Does what reads or writes files apart from the workers of the runtime. It comes to its end even if
/// nobody waits for it any more.
pub(super) async fn off_worker<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(StoreError::aborted(error)))
}

/// How long to wait before the next attempt; `None` if there is none.
fn pause(waited: Duration, bound: Duration) -> Option<Duration> {
    let left = bound.checked_sub(waited).filter(|left| !left.is_zero())?;
    Some(left.min(PAUSE.mul_f64(1.0 + fastrand::f64())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_25_to_50_ms_apart_and_end_with_the_wait() {
        let second = Duration::from_secs(1);
        for _ in 0..1000 {
            let pause = pause(Duration::ZERO, second).unwrap();
            assert!(pause >= PAUSE && pause <= PAUSE * 2, "{pause:?}");
        }
        assert_eq!(pause(Duration::from_millis(997), second), Some(Duration::from_millis(3)));
        assert_eq!(pause(second, second), None);
        assert_eq!(pause(second * 2, second), None);
        assert_eq!(pause(Duration::ZERO, Duration::ZERO), None);
    }
}
