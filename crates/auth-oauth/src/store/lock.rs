use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use durable_fs::LockFile;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::error::StoreError;

/// The lock of one entry. It is held until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    /// Serializes the file operations of the threads of this process that share the lock.
    operations: Mutex<()>,
    file: LockFile,
}

impl Lock {
    /// Tries once to lock the file at `path`. Returns `None` if another process holds the lock.
    pub(super) fn try_acquire(path: PathBuf) -> Result<Option<Self>, StoreError> {
        let file = LockFile::try_acquire(path)?;
        Ok(file.map(|file| Self { operations: Mutex::default(), file }))
    }

    /// Returns true if the lock file was not deleted since the lock was acquired.
    pub(super) fn is_at_path(&self) -> Result<bool, StoreError> {
        Ok(self.file.is_at_path()?)
    }

    /// Waits for the file operations of other threads that share this lock. Hold the guard only during a file
    /// operation.
    pub(super) fn begin_operation(&self) -> MutexGuard<'_, ()> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls `attempt` until it returns the lock, or until the timeout. `path` is the lock file that the error names.
pub(super) async fn acquire_lock<T: Send + 'static>(
    path: &Path,
    timeout: Duration,
    attempt: impl Fn() -> Result<Option<T>, StoreError> + Clone + Send + 'static,
) -> Result<T, StoreError> {
    let start = Instant::now();
    loop {
        if let Some(lock) = run_blocking(attempt.clone()).await? {
            return Ok(lock);
        }
        let pause = durable_fs::poll_pause(start.elapsed(), timeout);
        let pause = pause.ok_or_else(|| StoreError::busy(path.to_owned(), timeout))?;
        #[expect(clippy::disallowed_methods, reason = "there is no event when another process releases a file lock")]
        tokio::time::sleep(pause).await;
    }
}

/// Does the same as [`acquire_lock`], but blocks the thread.
pub(super) fn acquire_lock_blocking<T>(
    path: &Path,
    timeout: Duration,
    attempt: impl Fn() -> Result<Option<T>, StoreError>,
) -> Result<T, StoreError> {
    durable_fs::poll(timeout, attempt)?.ok_or_else(|| StoreError::busy(path.to_owned(), timeout))
}

/// Runs file operations on a blocking thread. They complete even if the future of the caller is dropped.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(StoreError::aborted(error)))
}
