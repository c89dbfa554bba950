use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use durable_fs::LockFile;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::error::StoreError;

/// The lock of one key. It is held until it is dropped, or until the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    turn: Mutex<()>,
    file: LockFile,
}

impl Lock {
    /// Takes the lock of the file at `path` if it is free.
    pub(super) fn attempt(path: PathBuf) -> Result<Option<Self>, StoreError> {
        let file = LockFile::try_acquire(path)?;
        Ok(file.map(|file| Self { turn: Mutex::default(), file }))
    }

    /// Returns true if the lock file was not deleted since the lock was taken.
    pub(super) fn is_at_path(&self) -> Result<bool, StoreError> {
        Ok(self.file.is_at_path()?)
    }

    /// Waits for the other users of this lock in this process. Hold the result during file operations only.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Retries `attempt` until it takes the lock at `path`, or until the timeout `bound`.
pub(super) async fn until_taken<T: Send + 'static>(
    path: &Path,
    bound: Duration,
    attempt: impl Fn() -> Result<Option<T>, StoreError> + Clone + Send + 'static,
) -> Result<T, StoreError> {
    let start = Instant::now();
    loop {
        if let Some(taken) = off_worker(attempt.clone()).await? {
            return Ok(taken);
        }
        let pause = durable_fs::poll_pause(start.elapsed(), bound);
        let pause = pause.ok_or_else(|| StoreError::busy(path.to_owned(), bound))?;
        #[expect(clippy::disallowed_methods, reason = "a file lock announces nothing: polling is the protocol")]
        tokio::time::sleep(pause).await;
    }
}

/// Retries `attempt` like [`until_taken`], but blocks the thread.
pub(super) fn until_taken_blocking<T>(
    path: &Path,
    bound: Duration,
    attempt: impl Fn() -> Result<Option<T>, StoreError>,
) -> Result<T, StoreError> {
    durable_fs::poll(bound, attempt)?.ok_or_else(|| StoreError::busy(path.to_owned(), bound))
}

/// Runs file operations on a blocking thread. They complete even if the caller is dropped.
pub(super) async fn off_worker<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(StoreError::aborted(error)))
}
