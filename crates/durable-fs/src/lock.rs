use std::fs::{File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use crate::faults::{Operation, check};
use crate::lease::Lease;
use crate::{Error, Identity, regular};

/// The minimum pause between two attempts to lock a file. The maximum is twice as long. The pause is short compared to
/// a request over the network, and long compared to an attempt to lock.
const MIN_PAUSE: Duration = Duration::from_millis(25);

/// The kind of a lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Locking {
    /// A kernel lock. If the file system does not support locks, acquiring the lock fails.
    Kernel,
    /// A kernel lock, or a lease if the file system does not support locks. A lease is a second file that its holder
    /// creates exclusively and renews every 30 s. It expires 2 min after the last renewal, by the clock of the file
    /// server. A process that is suspended for longer loses the lease, see [`LockFile::ensure_held`].
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
    /// [`Error::is_not_regular`]: the lock file is not a regular file. [`Error::is_unsupported`]: the file system does
    /// not support locks. Any other error: the lock file cannot be opened or locked.
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

    /// Tries to lock an open file with the given kind of lock. `path` is the path of the file. Returns `None` if
    /// another process holds the lock. Clones of `file` share the lock and lose it when the returned `LockFile` is
    /// dropped.
    ///
    /// # Errors
    ///
    /// [`Error::is_unsupported`]: `locking` is [`Locking::Kernel`], and the file system does not support locks. Any
    /// other error: the file cannot be locked.
    pub fn try_lock(file: File, path: impl Into<PathBuf>, locking: Locking) -> Result<Option<Self>, Error> {
        let path = path.into();
        if locking == Locking::Off {
            return Ok(Some(Self { file, path, lease: None }));
        }
        let lock_result = check(Operation::Lock, &path).map_err(TryLockError::Error).and_then(|()| file.try_lock());
        let error = match lock_result {
            Ok(()) => return Ok(Some(Self { file, path, lease: None })),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => Error::lock(&path, error),
        };
        if locking == Locking::Kernel || !error.is_unsupported() {
            return Err(error);
        }
        warn_about_leases(&path);
        let lease = Lease::try_acquire(&lease_path(&path))?;
        Ok(lease.map(|lease| Self { file, path, lease: Some(lease) }))
    }

    /// Opens a file for reading and writing, and locks it against other writers. Returns `None` if another process has
    /// locked the file. `options` determine whether the file is created, and `mode` are its Unix permission bits.
    ///
    /// Other processes can read the locked file. On Windows, a kernel lock would prevent this. There, the open file
    /// prevents all other handles that can write instead.
    ///
    /// # Errors
    ///
    /// The same as [`try_lock`](Self::try_lock), and the file cannot be opened.
    pub fn try_open(
        options: &mut OpenOptions,
        path: &Path,
        mode: u32,
        locking: Locking,
    ) -> Result<Option<(File, Self)>, Error> {
        options.read(true).write(true);
        #[cfg(windows)]
        let locking = {
            use std::os::windows::fs::OpenOptionsExt;

            /// Other processes may read, rename and delete the file (`FILE_SHARE_READ`, `FILE_SHARE_DELETE`).
            const SHARE_EXCEPT_WRITE: u32 = 1 | 4;

            if locking != Locking::Off {
                options.share_mode(SHARE_EXCEPT_WRITE);
            }
            Locking::Off
        };
        let file = match regular::create(options, path, mode, "open") {
            Err(error) if error.is_in_use() => return Ok(None),
            file => file?,
        };
        let lock_handle = file.try_clone().map_err(|error| Error::io("open", path, error))?;
        Ok(Self::try_lock(lock_handle, path, locking)?.map(|lock| (file, lock)))
    }

    /// Checks that another process has not taken over the lease. A kernel lock cannot be lost.
    ///
    /// # Errors
    ///
    /// The lease was lost ([`Error::kind`] is `Other`), or the lease cannot be read.
    pub fn ensure_held(&self) -> Result<(), Error> {
        let Some(lease) = &self.lease else { return Ok(()) };
        match lease.is_held() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::concurrent_change(&lease_path(&self.path))),
            Err(error) => Err(Error::io("read", &lease_path(&self.path), error)),
        }
    }

    /// Returns true if the path still refers to the lock file. If the lock file was deleted, other processes can create
    /// and lock a new file. False does not prove that it was deleted, because some file systems change inode numbers.
    ///
    /// # Errors
    ///
    /// The lock file cannot be examined.
    pub fn is_at_path(&self) -> Result<bool, Error> {
        let identities = Identity::of_file(&self.file).and_then(|locked| Ok((locked, Identity::of_path(&self.path)?)));
        let (locked_file, file_at_path) = identities.map_err(|error| Error::io("read", &self.path, error))?;
        Ok(file_at_path.is_some_and(|file_at_path| file_at_path.is_same_file(&locked_file)))
    }

    /// Acquires a kernel lock, waiting for up to `timeout`.
    ///
    /// # Errors
    ///
    /// [`Error::is_busy`]: another process held the lock until the timeout. Otherwise the errors of
    /// [`try_acquire`](Self::try_acquire).
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
    /// Unlocks explicitly. Closing the file is not enough, because a child process that was just forked may have a copy
    /// of the descriptor.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

/// Returns the path of the lease file that is used in place of a lock on `path`.
fn lease_path(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".lease");
    name.into()
}

/// Warns once per process, because a folder can have thousands of locks.
fn warn_about_leases(path: &Path) {
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
/// The waiting time is the sum of the pauses. No clock is read, because a clock that stops or changes would extend the
/// wait.
///
/// # Errors
///
/// The errors of `attempt`.
pub fn poll<T, E>(timeout: Duration, attempt: impl Fn() -> Result<Option<T>, E>) -> Result<Option<T>, E> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(value) = attempt()? {
            return Ok(Some(value));
        }
        let Some(pause) = poll_pause(waited, timeout) else { return Ok(None) };
        #[expect(clippy::disallowed_methods, reason = "a file lock does not notify waiting processes")]
        std::thread::sleep(pause);
        waited += pause;
    }
}

/// Returns the pause before the next attempt of a caller that has waited for `waited`, or `None` if `timeout` is
/// reached. Asynchronous callers use this function because they cannot use [`poll`].
///
/// The pause is random, 25 to 50 ms, so that waiting processes do not poll at the same time.
pub fn poll_pause(waited: Duration, timeout: Duration) -> Option<Duration> {
    let remaining = timeout.checked_sub(waited).filter(|remaining| !remaining.is_zero())?;
    // The keys of the hasher are random enough for a pause.
    let random = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or_default();
    Some(remaining.min(MIN_PAUSE.mul_f64(1.0 + f64::from(random) / f64::from(u32::MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_is_25_to_50_ms_until_the_timeout() {
        let second = Duration::from_secs(1);
        let pauses: Vec<_> = (0..1000).map(|_| poll_pause(Duration::ZERO, second).unwrap()).collect();
        assert!(pauses.iter().all(|&pause| pause >= MIN_PAUSE && pause <= MIN_PAUSE * 2), "{pauses:?}");
        assert!(pauses.iter().min() < pauses.iter().max(), "the pauses are random");
        assert_eq!(poll_pause(Duration::from_millis(997), second), Some(Duration::from_millis(3)));
        for (waited, timeout) in [(second, second), (second * 2, second), (Duration::ZERO, Duration::ZERO)] {
            assert_eq!(poll_pause(waited, timeout), None);
        }
    }
}
