use std::fs::{File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use crate::faults::{Operation, check};
use crate::lease::Lease;
use crate::{Error, regular};

/// The minimum time between two attempts; the maximum is twice as long. Short compared to a network round trip, long
/// compared to an attempt.
const PAUSE: Duration = Duration::from_millis(25);

/// The kind of a lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Locking {
    /// By the kernel. An error where the file system does not support locks.
    Kernel,
    /// By the kernel, or by a lease where the file system does not support locks: a second file, created
    /// exclusively, renewed every 30 s, and free when it was not renewed for 2 min by the clock of the file server. A process
    /// that is suspended for longer loses it, see [`LockFile::ensure_held`].
    #[default]
    KernelOrLease,
    /// Not at all: the user ensures that one process at a time writes.
    Off,
}

/// An advisory lock between processes, held until it is dropped or the process ends.
///
/// The lock file is created if necessary, with mode 0600, and never deleted.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    path: PathBuf,
    lease: Option<Lease>,
}

impl LockFile {
    /// Tries to take the lock by the kernel. Returns `None` if another process, or another `LockFile` of this process, holds
    /// it.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_regular`], [`Error::is_unsupported`], or the lock file cannot be opened.
    pub fn try_acquire(path: impl Into<PathBuf>) -> Result<Option<Self>, Error> {
        Self::try_acquire_with(path, Locking::Kernel)
    }

    /// Tries to take the lock in a given way.
    ///
    /// # Errors
    ///
    /// Those of [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_with(path: impl Into<PathBuf>, locking: Locking) -> Result<Option<Self>, Error> {
        let path = path.into();
        let file = regular::open(OpenOptions::new().write(true).create(true).truncate(false), &path, "open")?;
        Self::try_lock(file, path, locking)
    }

    /// Tries to lock an open file in a given way. `path` is its name. Handles that were cloned from `file` share the lock,
    /// and lose it when this is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::is_unsupported`] with [`Locking::Kernel`], or the file cannot be locked.
    pub fn try_lock(file: File, path: impl Into<PathBuf>, locking: Locking) -> Result<Option<Self>, Error> {
        let path = path.into();
        if locking == Locking::Off {
            return Ok(Some(Self { file, path, lease: None }));
        }
        let locked = check(Operation::Lock, &path).map_err(TryLockError::Error).and_then(|()| file.try_lock());
        let error = match locked {
            Ok(()) => return Ok(Some(Self { file, path, lease: None })),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => Error::lock(&path, error),
        };
        if locking == Locking::Kernel || !error.is_unsupported() {
            return Err(error);
        }
        warn_of_leases(&path);
        let lease = Lease::try_acquire(&lease_path(&path))?;
        Ok(lease.map(|lease| Self { file, path, lease: Some(lease) }))
    }

    /// Fails if the lock was lost: another process has taken over the lease that stands for it. A lock of the kernel cannot be
    /// lost.
    ///
    /// # Errors
    ///
    /// [`Error::kind`] is `Other` if it was lost; otherwise the lease cannot be read.
    pub fn ensure_held(&self) -> Result<(), Error> {
        let Some(lease) = &self.lease else { return Ok(()) };
        match lease.is_held() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::interfered(&lease_path(&self.path))),
            Err(error) => Err(Error::io("read", &lease_path(&self.path), error)),
        }
    }

    /// Takes the lock, and waits up to `timeout` for it.
    ///
    /// # Errors
    ///
    /// [`Error::is_busy`] after the timeout, and those of [`try_acquire`](Self::try_acquire).
    pub fn acquire(path: impl Into<PathBuf>, timeout: Duration) -> Result<Self, Error> {
        Self::acquire_with(path, timeout, Locking::Kernel)
    }

    /// Takes the lock in a given way, and waits up to `timeout` for it.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
    pub fn acquire_with(path: impl Into<PathBuf>, timeout: Duration, locking: Locking) -> Result<Self, Error> {
        let path = path.into();
        poll(timeout, || Self::try_acquire_with(&path, locking))?.ok_or_else(|| Error::busy(path, timeout))
    }
}

impl Drop for LockFile {
    /// Explicit, because a child process that is starting at this moment can still have the file open.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

/// The file that stands for a lock where the file system does not support locks.
fn lease_path(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".lease");
    name.into()
}

/// Once for each process: a folder can have thousands of locks.
fn warn_of_leases(path: &Path) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            path = %path.display(),
            "the file system does not support locks: using lease files, which expire after 2 min"
        );
    });
}

/// Repeats `attempt` until it returns something, or until `timeout`. Returns `None` after the timeout.
///
/// Time is measured by the pauses alone: a clock that is stopped or changed does not extend the wait.
///
/// # Errors
///
/// Those of `attempt`.
pub fn poll<T, E>(timeout: Duration, attempt: impl Fn() -> Result<Option<T>, E>) -> Result<Option<T>, E> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(taken) = attempt()? {
            return Ok(Some(taken));
        }
        let Some(pause) = poll_pause(waited, timeout) else { return Ok(None) };
        #[expect(clippy::disallowed_methods, reason = "a file lock does not notify: polling is the protocol")]
        std::thread::sleep(pause);
        waited += pause;
    }
}

/// Returns the pause before the next attempt, or `None` if `timeout` is over. For callers that cannot block a thread.
///
/// The pause is 25 to 50 ms, at random, so that waiting processes do not poll in step.
pub fn poll_pause(waited: Duration, timeout: Duration) -> Option<Duration> {
    let left = timeout.checked_sub(waited).filter(|left| !left.is_zero())?;
    // The keys of the hasher are random; nothing depends on the quality of this number.
    let random = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or_default();
    Some(left.min(PAUSE.mul_f64(1.0 + f64::from(random) / f64::from(u32::MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_25_to_50_ms_apart_until_the_timeout() {
        let second = Duration::from_secs(1);
        let pauses: Vec<_> = (0..1000).map(|_| poll_pause(Duration::ZERO, second).unwrap()).collect();
        assert!(pauses.iter().all(|&pause| pause >= PAUSE && pause <= PAUSE * 2), "{pauses:?}");
        assert!(pauses.iter().min() < pauses.iter().max(), "they differ");
        assert_eq!(poll_pause(Duration::from_millis(997), second), Some(Duration::from_millis(3)));
        for (waited, timeout) in [(second, second), (second * 2, second), (Duration::ZERO, Duration::ZERO)] {
            assert_eq!(poll_pause(waited, timeout), None);
        }
    }
}
