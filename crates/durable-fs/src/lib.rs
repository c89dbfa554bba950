//! File operations that are robust against crashes, full disks and other users.
//!
//! This crate contains the workarounds for file system limitations. All functions block: asynchronous callers must run
//! them on a blocking thread.
//!
//! - [`AtomicFile`] replaces a file: a reader sees the old or the new content. [`AtomicFile::reserve`] allocates the
//!   space first, so that a full disk is an error before other resources are spent.
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
//! // Do what must not happen unless its result can be stored.
//! reservation.commit(b"{}")?;
//! assert_eq!(regular::read(&folder.join("state.json"), 1024)?.unwrap().bytes(), b"{}");
//! # Ok::<(), durable_fs::Error>(())
//! ```
//!
//! # Design
//!
//! - A file gets its final mode when it is created, so that others can never open it.
//! - The temporary file is in the folder of the target, because a rename works only within one file system.
//! - A reservation is a temporary file with allocated blocks. `fallocate` allocates them without writing. Without it,
//!   zeros are written and synced, because some file systems allocate late.
//! - A file system that cannot sync a folder (some network and FUSE mounts) is tolerated: the rename is still atomic
//!   for readers. A file that cannot be synced is an error.
//! - A file system that reports a size of zero blocks (some FUSE mounts) does not report its free space.
//! - A lock file is never deleted. Otherwise two processes could lock two different files.
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
