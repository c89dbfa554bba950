//! File operations that are robust against crashes, full disks and other users.
//!
//! The functions work around limitations of file systems, see the [design](#design). All functions block: asynchronous
//! callers must run them on a blocking thread.
//!
//! - [`AtomicFile`] replaces a file: a reader sees the old or the new content, never a mixture. [`AtomicFile::reserve`]
//!   allocates the space first, so that a full disk is detected before an operation whose result must be stored.
//! - [`LockFile`] is an advisory lock between processes. The kernel releases it when its process ends. With
//!   [`Locking::KernelOrLease`] it also works where the file system does not support locks.
//! - [`Identity`] detects replaced and changed files.
//! - [`positioned`] reads and writes at an offset.
//! - [`regular`] opens and reads only regular files. A FIFO, a device, a folder or a symbolic link is rejected, and
//!   opening it never blocks.
//! - [`folder`] creates folders and rejects those that another user can write to.
//! - [`trusted`] reads files that decide where secrets are sent, and rejects those that another user can change.
//!
//! All functions return the same [`Error`]. Its message names the path and the reason.
//!
//! ```
//! use durable_fs::{AtomicFile, LockFile, regular};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let folder = folder.path();
//! let _lock = LockFile::acquire(folder.join("state.lock"), std::time::Duration::from_secs(5))?;
//! let state = AtomicFile::new(folder.join("state.json"), folder.join("state.tmp"));
//! let reservation = state.reserve(64 * 1024)?;
//! // Redeem a one-time token here: its result can be stored.
//! reservation.commit(b"{}")?;
//! assert_eq!(regular::read(&folder.join("state.json"), 1024)?.unwrap().bytes(), b"{}");
//! # Ok::<(), durable_fs::Error>(())
//! ```
//!
//! # Design
//!
//! - A file gets its final mode when it is created, so that others can never open it.
//! - The temporary file is in the folder of the target, because a rename works only within one file system.
//! - A reservation is a temporary file with allocated blocks. `fallocate` allocates them without writing. Where
//!   `fallocate` is not supported, zeros are written and synced, because some file systems allocate blocks only then.
//! - Some network and FUSE mounts cannot sync a folder. This is not an error, because the rename is still atomic for
//!   readers. A file that cannot be synced is an error.
//! - A file system that reports a size of zero blocks (some FUSE mounts) does not report its free space.
//! - A lock file is never deleted. Otherwise one process could hold the lock of the deleted file, and another the lock of
//!   a new file with the same name.
//! - On systems other than Unix, modes and owners are not checked and folders are not synced.

mod error;
pub mod faults;
pub mod folder;
mod identity;
mod lease;
mod lock;
#[cfg(unix)]
mod owner;
pub mod positioned;
pub mod regular;
mod replace;
pub mod trusted;

pub use error::{Error, lacks_resources};
pub use identity::Identity;
pub use lease::{is_abandoned, is_lease, remove_abandoned};
pub use lock::{LockFile, Locking, poll, poll_pause};
pub use replace::{AtomicFile, Reservation};
