//! Fault injection for file operations, for tests.
//!
//! With the feature `faults`, a test can make operations in a folder fail, as they do on network file systems. Without
//! the feature, the checks compile to nothing.

use std::io;
use std::path::Path;

/// An operation that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Taking a lock (`flock`).
    Lock,
    /// Reading the content of a file.
    Read,
    /// Writing the content of a file.
    Write,
    /// Reserving the space of a file (`fallocate`).
    Reserve,
    /// Synchronizing a file (`fsync`).
    SyncFile,
    /// Synchronizing a folder (`fsync`).
    SyncFolder,
    /// Synchronizing a file system (`syncfs`).
    SyncFileSystem,
    /// Renaming a file.
    Rename,
    /// Changing the mode of a file (`chmod`).
    Chmod,
    /// Querying free space (`statvfs`).
    FreeSpace,
}

#[cfg(feature = "faults")]
mod injected {
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::{Operation, io};

    struct InjectedFault {
        id: u64,
        operation: Operation,
        folder: PathBuf,
        errno: i32,
        remaining: usize,
    }

    static ACTIVE_FAULTS: AtomicUsize = AtomicUsize::new(0);
    static NEXT_ID: AtomicU64 = AtomicU64::new(0);
    static FAULTS: Mutex<Vec<InjectedFault>> = Mutex::new(Vec::new());

    fn faults() -> MutexGuard<'static, Vec<InjectedFault>> {
        FAULTS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An injected fault, active until dropped.
    #[derive(Debug)]
    pub struct Fault(u64);

    impl Fault {
        /// Makes `operation` fail with the error number `errno` for `folder` and everything in it.
        pub fn inject(operation: Operation, folder: impl Into<PathBuf>, errno: i32) -> Self {
            Self::inject_times(operation, folder, errno, usize::MAX)
        }

        /// Makes the next `times` calls of `operation` fail with `errno`. Later calls succeed.
        pub fn inject_times(operation: Operation, folder: impl Into<PathBuf>, errno: i32, times: usize) -> Self {
            let id = NEXT_ID.fetch_add(1, Ordering::SeqCst);
            faults().push(InjectedFault { id, operation, folder: folder.into(), errno, remaining: times });
            ACTIVE_FAULTS.fetch_add(1, Ordering::SeqCst);
            Self(id)
        }
    }

    impl Drop for Fault {
        fn drop(&mut self) {
            faults().retain(|fault| fault.id != self.0);
            ACTIVE_FAULTS.fetch_sub(1, Ordering::SeqCst);
        }
    }

    pub(crate) fn check(operation: Operation, path: &Path) -> io::Result<()> {
        if ACTIVE_FAULTS.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        let mut faults = faults();
        let matching = faults
            .iter_mut()
            .find(|fault| fault.operation == operation && fault.remaining > 0 && path.starts_with(&fault.folder));
        matching.map_or(Ok(()), |fault| {
            fault.remaining -= 1;
            Err(io::Error::from_raw_os_error(fault.errno))
        })
    }
}

#[cfg(feature = "faults")]
pub use injected::Fault;

/// Returns an error if a test has injected a fault for the operation.
#[cfg_attr(not(feature = "faults"), expect(clippy::unnecessary_wraps, reason = "nothing fails without the feature"))]
pub(crate) fn check(operation: Operation, path: &Path) -> io::Result<()> {
    #[cfg(feature = "faults")]
    {
        injected::check(operation, path)
    }
    #[cfg(not(feature = "faults"))]
    {
        let _ = (operation, path);
        Ok(())
    }
}
