use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_core::TokenError;

/// Why a [`FileTokenStore`](crate::FileTokenStore) failed: the source of a [`TokenError`] that
/// [`is_cache`](TokenError::is_cache). It never shows a token.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(#[from] Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("{} cannot be {action}: make it accessible, or choose another folder for tokens", path.display())]
    Io { path: PathBuf, action: &'static str, source: io::Error },
    #[error("{} is a symbolic link, which the token store does not follow: remove it, or name the folder that it leads to", .0.display())]
    SymbolicLink(PathBuf),
    #[error("others can write into {}, which holds logins: make it your own (`chown`, `chmod go-w`), or choose another folder for tokens", .0.display())]
    OpenToOthers(PathBuf),
    #[error("the lock {} was not free within {waited:?}: try again, or end the process that renews this login", path.display())]
    Busy { path: PathBuf, waited: Duration },
    #[error("the file system of {} has no file locks: choose a folder for tokens on a local disk", path.display())]
    NoLocks { path: PathBuf, source: io::Error },
    #[error("a token of {size} bytes is not stored: the limit is {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("the token cannot be written as JSON")]
    Unwritable(#[source] serde_json::Error),
    #[error("the work on the token store did not come to its end")]
    Aborted(#[source] tokio::task::JoinError),
}

impl StoreError {
    /// `path` cannot be `action` – read, written – because of `source`.
    pub(super) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Kind::Io { path: path.to_owned(), action, source }.into()
    }

    pub(super) fn symbolic_link(path: &Path) -> Self {
        Kind::SymbolicLink(path.to_owned()).into()
    }

    #[cfg(unix)]
    pub(super) fn open_to_others(path: &Path) -> Self {
        Kind::OpenToOthers(path.to_owned()).into()
    }

    pub(super) fn busy(path: PathBuf, waited: Duration) -> Self {
        Kind::Busy { path, waited }.into()
    }

    /// The lock `path` could not be tried because of `source`.
    pub(super) fn lock(path: &Path, source: io::Error) -> Self {
        if has_no_locks(&source) {
            Kind::NoLocks { path: path.to_owned(), source }.into()
        } else {
            Self::io(path, "locked", source)
        }
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

    /// What is behind `error`, if a token store is.
    ///
    /// ```
    /// use std::time::Duration;
    /// use auth_core::{TokenCache, TokenKey};
    /// use auth_oauth::{FileTokenStore, StoreError};
    ///
    /// // A file is no folder.
    /// let error = TokenCache::get(&FileTokenStore::new("Cargo.toml"), &TokenKey::new("issuer")).unwrap_err();
    /// assert!(!StoreError::of(&error).unwrap().is_timeout());
    /// ```
    pub fn of(error: &TokenError) -> Option<&Self> {
        error.source()?.downcast_ref()
    }

    /// Another process had the lock all the time that was waited for it.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0, Kind::Busy { .. })
    }

    /// The file system has no locks, so that processes cannot take turns in this folder.
    pub fn is_without_locks(&self) -> bool {
        matches!(self.0, Kind::NoLocks { .. })
    }

    /// Others can write into the folder, and could put a login of theirs there.
    pub fn is_open_to_others(&self) -> bool {
        matches!(self.0, Kind::OpenToOthers(_))
    }

    /// The folder or one of its files is a symbolic link.
    pub fn is_symbolic_link(&self) -> bool {
        matches!(self.0, Kind::SymbolicLink(_))
    }
}

impl From<StoreError> for TokenError {
    fn from(error: StoreError) -> Self {
        Self::cache(error)
    }
}

/// Some systems have no locks at all, and some mounts (NFS without its lock service) answer `ENOLCK`.
fn has_no_locks(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(rustix::io::Errno::NOLCK.raw_os_error()) {
        return true;
    }
    error.kind() == io::ErrorKind::Unsupported
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_locks_is_told_from_one_that_fails() {
        let error = |source| StoreError::lock(Path::new("/mnt/x.lock"), source);
        #[cfg(unix)]
        assert!(error(io::Error::from(rustix::io::Errno::NOLCK)).is_without_locks());
        #[cfg(unix)]
        assert!(error(io::Error::from(rustix::io::Errno::OPNOTSUPP)).is_without_locks());
        let without = error(io::ErrorKind::Unsupported.into());
        assert!(without.is_without_locks() && without.to_string().contains("choose a folder"), "{without}");
        assert!(!error(io::ErrorKind::PermissionDenied.into()).is_without_locks());
    }
}
