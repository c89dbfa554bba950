use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_core::TokenError;

/// An error of a [`FileTokenStore`](crate::FileTokenStore). It never contains a token.
///
/// It is the source of the [`TokenError`] that the store returns. [`TokenError::is_cache`] returns true for that error.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(#[from] Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("{error}: {}", remedy(error))]
    File {
        #[source]
        error: durable_fs::Error,
    },
    #[error("{} cannot be {action}: make it accessible, or choose another folder for tokens", path.display())]
    Io { path: PathBuf, action: &'static str, source: io::Error },
    #[error("'{}' was written by a newer version of this program: update this program, or delete the file and log in again", .0.display())]
    Newer(PathBuf),
    #[error("a token of {size} bytes is not stored: the limit is {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("cannot serialize the token")]
    Unwritable(#[source] serde_json::Error),
    #[error("'{}' was deleted and written again during a refresh: the refreshed token is not stored", .0.display())]
    Displaced(PathBuf),
    #[error("an operation of the token store was aborted")]
    Aborted(#[source] tokio::task::JoinError),
}

impl StoreError {
    /// Creates the error of a failed system call on `path`. `action` is a past participle, such as "read".
    pub(super) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Kind::Io { path: path.to_owned(), action, source }.into()
    }

    pub(super) fn busy(path: PathBuf, waited: Duration) -> Self {
        durable_fs::Error::busy(path, waited).into()
    }

    pub(super) fn newer(path: &Path) -> Self {
        Kind::Newer(path.to_owned()).into()
    }

    pub(super) fn displaced(path: PathBuf) -> Self {
        Kind::Displaced(path).into()
    }

    pub(super) fn too_large(size: usize, limit: usize) -> Self {
        Kind::TooLarge { size, limit }.into()
    }

    pub(super) fn unwritable(source: serde_json::Error) -> Self {
        Kind::Unwritable(source).into()
    }

    pub(super) fn aborted(source: tokio::task::JoinError) -> Self {
        Kind::Aborted(source).into()
    }

    /// Returns the store error that is the source of `error`, if it has one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use auth_core::{TokenCache, TokenKey};
    /// use auth_oauth::{FileTokenStore, StoreError};
    ///
    /// // The path names a file instead of a folder.
    /// let error = FileTokenStore::new("Cargo.toml").blocking().get(&TokenKey::new("issuer")).unwrap_err();
    /// assert!(StoreError::of(&error).unwrap().is_not_regular());
    /// ```
    pub fn of(error: &TokenError) -> Option<&Self> {
        error.source()?.downcast_ref()
    }

    /// Returns true if another process held the lock until the timeout.
    pub fn is_timeout(&self) -> bool {
        self.file_error().is_some_and(durable_fs::Error::is_busy)
    }

    /// Returns true if the file system does not support locks. Processes cannot synchronize in this folder.
    pub fn is_lock_unsupported(&self) -> bool {
        self.file_error().is_some_and(durable_fs::Error::is_unsupported)
    }

    /// Returns true if other users can write to the folder. They could store their own login in it.
    pub fn is_open_to_others(&self) -> bool {
        self.file_error().is_some_and(durable_fs::Error::is_open_to_others)
    }

    /// Returns true if the folder or one of its files is a symbolic link.
    pub fn is_symbolic_link(&self) -> bool {
        self.file_error().is_some_and(durable_fs::Error::is_symbolic_link)
    }

    /// Returns true if a file is not a regular file, such as a FIFO or a symbolic link, or if the folder is not a
    /// directory.
    pub fn is_not_regular(&self) -> bool {
        self.file_error().is_some_and(durable_fs::Error::is_not_regular)
    }

    /// Returns true if the disk is full or a quota is reached.
    pub fn is_storage_full(&self) -> bool {
        match &self.0 {
            Kind::File { error } => error.is_storage_full(),
            Kind::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// Returns true if a newer version of the program wrote the token file, which is therefore not overwritten.
    pub fn is_from_newer_version(&self) -> bool {
        matches!(self.0, Kind::Newer(_))
    }

    fn file_error(&self) -> Option<&durable_fs::Error> {
        match &self.0 {
            Kind::File { error } => Some(error),
            _ => None,
        }
    }
}

impl From<durable_fs::Error> for StoreError {
    fn from(error: durable_fs::Error) -> Self {
        Kind::File { error }.into()
    }
}

impl From<StoreError> for TokenError {
    fn from(error: StoreError) -> Self {
        // Another process is writing or refreshing the token, and will release the lock.
        let is_busy = error.is_timeout();
        let error = Self::cache(error);
        if is_busy { error.into_transient() } else { error }
    }
}

fn remedy(error: &durable_fs::Error) -> &'static str {
    match error {
        error if error.is_storage_full() => "free some space, or choose another folder for tokens",
        error if error.is_busy() => "try again, or end the process that refreshes this login",
        error if error.is_unsupported() => "choose a folder for tokens on a local disk",
        error if error.is_open_to_others() => {
            "change its owner and permissions (`chown`, `chmod go-w`), or choose another folder for tokens"
        }
        error if error.is_exposed() => "choose a folder for tokens on a file system that has permissions",
        error if error.is_not_regular() => "remove it, or choose another folder for tokens",
        _ => "make it accessible, or choose another folder for tokens",
    }
}
