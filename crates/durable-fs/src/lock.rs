use std::fs::{File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use crate::faults::{Operation, check};
use crate::lease::Lease;
use crate::{Error, Identity, regular};

/// The minimum pause between two attempts; the maximum is twice as long. It is short compared to a network round trip,
/// and long compared to an attempt.
const MIN_PAUSE: Duration = Duration::from_millis(25);

/// The kind of a lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Locking {
    /// A kernel lock. An error if the file system does not support locks.
    Kernel,
    /// A kernel lock, or a lease if the file system does not support locks: a second file, created exclusively, renewed
    /// every 30 s, and free after 2 min without a renewal by the clock of the file server. A process that is suspended
    /// for longer loses it, see [`LockFile::ensure_held`].
    #[default]
    KernelOrLease,
    /// No lock: the user ensures that only one process at a time writes.
    Off,
}

/// An advisory lock between processes, held until dropped or until the process ends.
///
/// The lock file is created if necessary, with mode 0600, and never deleted.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    path: PathBuf,
    lease: Option<Lease>,
}

impl LockFile {
    /// Tries to acquire a kernel lock. Returns `None` if another process, or another `LockFile` of this process, holds
    /// it.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_regular`], [`Error::is_unsupported`], or the lock file cannot be opened.
    pub fn try_acquire(path: impl Into<PathBuf>) -> Result<Option<Self>, Error> {
        Self::try_acquire_with(path, Locking::Kernel)
    }

    /// Tries to acquire a lock of the given kind.
    ///
    /// # Errors
    ///
    /// The same as [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_with(path: impl Into<PathBuf>, locking: Locking) -> Result<Option<Self>, Error> {
        let path = path.into();
        let file = regular::open(OpenOptions::new().write(true).create(true).truncate(false), &path, "open")?;
        Self::try_lock(file, path, locking)
    }

    /// Tries to lock an open file with the given kind of lock. `path` is its name. Clones of `file` share the lock, and
    /// lose it when this is dropped.
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

    /// Returns an error if the lock was lost: another process has taken over its lease. A kernel lock cannot be lost.
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

    /// Returns true if the path still refers to the lock file. If it was deleted, other processes can lock a new one. False
    /// proves nothing on file systems that change inode numbers.
    ///
    /// # Errors
    ///
    /// The lock file cannot be examined.
    pub fn is_at_path(&self) -> Result<bool, Error> {
        let found = Identity::of_file(&self.file).and_then(|held| Ok((held, Identity::of_path(&self.path)?)));
        let (held, named) = found.map_err(|error| Error::io("read", &self.path, error))?;
        Ok(named.is_some_and(|named| named.is_same_file(&held)))
    }

    /// Acquires a kernel lock, waiting for up to `timeout`.
    ///
    /// # Errors
    ///
    /// [`Error::is_busy`] after the timeout, and the errors of [`try_acquire`](Self::try_acquire).
    pub fn acquire(path: impl Into<PathBuf>, timeout: Duration) -> Result<Self, Error> {
        Self::acquire_with(path, timeout, Locking::Kernel)
    }

    /// Acquires a lock of the given kind, waiting for up to `timeout`.
    ///
    /// # Errors
    ///
    /// The same as [`acquire`](Self::acquire).
    pub fn acquire_with(path: impl Into<PathBuf>, timeout: Duration, locking: Locking) -> Result<Self, Error> {
        let path = path.into();
        poll(timeout, || Self::try_acquire_with(&path, locking))?.ok_or_else(|| Error::busy(path, timeout))
    }
}

impl Drop for LockFile {
    /// Unlocks explicitly, because a child process that is starting now may still have the file open.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

/// Returns the path of the lease file that replaces a lock.
fn lease_path(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".lease");
    name.into()
}

/// Warns once per process, because a folder can have thousands of locks.
fn warn_of_leases(path: &Path) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            path = %path.display(),
            "the file system does not support locks: using lease files, which expire after 2 min"
        );
    });
}

/// Repeats `attempt` until it returns a value, or until `timeout`. Returns `None` after the timeout.
///
/// Time is measured only by the pauses: a clock that is stopped or changed does not extend the wait.
///
/// # Errors
///
/// The errors of `attempt`.
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

/// Returns the pause before the next attempt, or `None` after `timeout`. For callers that cannot block a thread.
///
/// The pause is random, 25 to 50 ms, so that waiting processes do not poll in step.
pub fn poll_pause(waited: Duration, timeout: Duration) -> Option<Duration> {
    let left = timeout.checked_sub(waited).filter(|left| !left.is_zero())?;
    // The hasher's keys are random; the quality of this number is not important.
    let random = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or_default();
    Some(left.min(MIN_PAUSE.mul_f64(1.0 + f64::from(random) / f64::from(u32::MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_25_to_50_ms_apart_until_the_timeout() {
        let second = Duration::from_secs(1);
        let pauses: Vec<_> = (0..1000).map(|_| poll_pause(Duration::ZERO, second).unwrap()).collect();
        assert!(pauses.iter().all(|&pause| pause >= MIN_PAUSE && pause <= MIN_PAUSE * 2), "{pauses:?}");
        assert!(pauses.iter().min() < pauses.iter().max(), "they differ");
        assert_eq!(poll_pause(Duration::from_millis(997), second), Some(Duration::from_millis(3)));
        for (waited, timeout) in [(second, second), (second * 2, second), (Duration::ZERO, Duration::ZERO)] {
            assert_eq!(poll_pause(waited, timeout), None);
        }
    }
}
