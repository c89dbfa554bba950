//! Files that survive crashes, full disks and hostile neighbors.
//!
//! The one place that knows what a file system can and cannot do. Everything here blocks: an asynchronous caller
//! moves it to a thread that may block.
//!
//! - [`AtomicFile`] replaces a file: a reader sees the old content or the new content. [`AtomicFile::reserve`]
//!   allocates the space first, so that a full disk is an error before anything else is spent.
//! - [`LockFile`] is an advisory lock between processes. The kernel releases it when its process ends. With
//!   [`Locking::KernelOrLease`] it also works where the file system does not support locks.
//! - [`Identity`] shows whether a name still stands for the same, unchanged file.
//! - [`positioned`] reads and writes at an offset.
//! - [`regular`] opens and reads regular files only. A FIFO, a device, a folder or a symbolic link is refused, and
//!   opening it never blocks.
//! - [`folder`] creates folders and refuses those that another user can write to.
//!
//! Every function fails with the same [`Error`]. Its message names the path and the reason.
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
//! - The temporary is in the folder of the file, because a rename works within one file system only.
//! - A reservation is a temporary that already has its blocks. `fallocate` allocates them without writing; a file
//!   system that lacks it gets zeros, which are synchronized because some file systems allocate late.
//! - A file system that cannot synchronize a folder (some network and FUSE mounts) is tolerated: the rename is still
//!   atomic for readers. A file that cannot be synchronized is an error.
//! - A file system that reports a size of zero blocks (some FUSE mounts) does not report its free space.
//! - A lock file is never deleted. Deleting it would let two processes lock two different files.
//! - On systems other than Unix, modes and owners are not checked and folders are not synchronized.

mod error;
pub mod faults;
pub mod folder;
mod identity;
mod lease;
mod lock;
pub mod positioned;
pub mod regular;
mod replace;

pub use error::Error;
pub use identity::Identity;
pub use lock::{LockFile, Locking, poll, poll_pause};
pub use replace::{AtomicFile, Reservation};
