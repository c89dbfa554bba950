use std::fs::FileType;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An error of a file operation. The message names the path.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] ErrorDetail);

#[derive(Debug, thiserror::Error)]
enum ErrorDetail {
    // The message includes the cause. The field is not named `source`, because error reporters would print the cause
    // twice.
    #[error("cannot {action} '{}': {}", path.display(), reason(cause))]
    Io { action: &'static str, path: PathBuf, cause: io::Error },
    #[error("'{}' is {found}, expected {expected}", path.display())]
    Unexpected { path: PathBuf, found: &'static str, expected: &'static str },
    #[cfg_attr(windows, expect(dead_code, reason = "owners are checked only on Unix"))]
    #[error("'{}' can be changed by other users", path.display())]
    OpenToOthers { path: PathBuf },
    #[cfg_attr(windows, expect(dead_code, reason = "modes are checked only on Unix"))]
    #[error("'{}' can be read by other users", path.display())]
    Exposed { path: PathBuf },
    #[error("'{}' was locked by another process for {waited:?}", path.display())]
    Busy { path: PathBuf, waited: Duration },
    #[error("the file system of '{}' does not support locks", path.display())]
    LocksUnsupported { path: PathBuf, source: io::Error },
    #[error("'{}' was replaced by another process", path.display())]
    Replaced { path: PathBuf },
}

/// Returns true if the process or the system has run out of file descriptors or memory. The cause is not the file, so
/// the operation may succeed later.
///
/// ```
/// # #[cfg(unix)] {
/// let error = std::io::Error::from_raw_os_error(24); // EMFILE
/// assert!(durable_fs::lacks_resources(&error));
/// # }
/// ```
pub fn lacks_resources(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;

        let exhaustion_errors = [Errno::MFILE, Errno::NFILE, Errno::NOMEM].map(Errno::raw_os_error);
        error.raw_os_error().is_some_and(|errno| exhaustion_errors.contains(&errno))
    }
    #[cfg(not(unix))]
    {
        error.kind() == ErrorKind::OutOfMemory
    }
}

/// The description of a symbolic link in messages.
const SYMBOLIC_LINK: &str = "a symbolic link";

impl Error {
    /// Creates an I/O error. `action` is an infinitive: "read", "create".
    pub(crate) fn io(action: &'static str, path: &Path, cause: io::Error) -> Self {
        ErrorDetail::Io { action, path: path.to_owned(), cause }.into()
    }

    pub(crate) fn not_regular(path: &Path, found: FileType) -> Self {
        ErrorDetail::Unexpected { path: path.to_owned(), found: describe_file_type(found), expected: "a regular file" }
            .into()
    }

    pub(crate) fn not_folder(path: &Path, found: FileType) -> Self {
        ErrorDetail::Unexpected { path: path.to_owned(), found: describe_file_type(found), expected: "a folder" }.into()
    }

    #[cfg(unix)]
    pub(crate) fn open_to_others(path: &Path) -> Self {
        ErrorDetail::OpenToOthers { path: path.to_owned() }.into()
    }

    #[cfg(unix)]
    pub(crate) fn exposed(path: &Path) -> Self {
        ErrorDetail::Exposed { path: path.to_owned() }.into()
    }

    /// Creates the error for a file that another process kept locked for the time `waited`. Callers that wait with
    /// [`poll_pause`](crate::poll_pause) return it after their timeout.
    pub fn busy(path: impl Into<PathBuf>, waited: Duration) -> Self {
        ErrorDetail::Busy { path: path.into(), waited }.into()
    }

    /// Creates the error for a lock file at `path` that cannot be locked because of `source`.
    pub(crate) fn lock(path: &Path, source: io::Error) -> Self {
        if is_lock_unsupported(&source) {
            ErrorDetail::LocksUnsupported { path: path.to_owned(), source }.into()
        } else {
            Self::io("lock", path, source)
        }
    }

    pub(crate) fn concurrent_change(path: &Path) -> Self {
        ErrorDetail::Replaced { path: path.to_owned() }.into()
    }

    /// Returns the path of the file or folder.
    pub fn path(&self) -> &Path {
        match &self.0 {
            ErrorDetail::Io { path, .. }
            | ErrorDetail::Unexpected { path, .. }
            | ErrorDetail::OpenToOthers { path }
            | ErrorDetail::Exposed { path }
            | ErrorDetail::Busy { path, .. }
            | ErrorDetail::LocksUnsupported { path, .. }
            | ErrorDetail::Replaced { path } => path,
        }
    }

    /// Returns the kind of the underlying I/O error, or the closest match.
    pub fn kind(&self) -> ErrorKind {
        match &self.0 {
            ErrorDetail::Io { cause, .. } => cause.kind(),
            ErrorDetail::Unexpected { .. } => ErrorKind::InvalidInput,
            ErrorDetail::OpenToOthers { .. } | ErrorDetail::Exposed { .. } => ErrorKind::PermissionDenied,
            ErrorDetail::Busy { .. } => ErrorKind::WouldBlock,
            ErrorDetail::LocksUnsupported { .. } => ErrorKind::Unsupported,
            ErrorDetail::Replaced { .. } => ErrorKind::Other,
        }
    }

    /// Returns true if the disk is full (`ENOSPC`), or if a quota (`EDQUOT`) or the maximum file size (`EFBIG`) is
    /// reached.
    pub fn is_storage_full(&self) -> bool {
        matches!(self.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
    }

    /// Returns true if another handle prevents access to the file, which happens only on Windows.
    pub(crate) fn is_in_use(&self) -> bool {
        /// The error number `ERROR_SHARING_VIOLATION`.
        const SHARING_VIOLATION: i32 = 32;

        let errno = if let ErrorDetail::Io { cause, .. } = &self.0 { cause.raw_os_error() } else { None };
        cfg!(windows) && errno == Some(SHARING_VIOLATION)
    }

    /// Returns true if the path is not a regular file, or not a folder where a folder is expected. Symbolic links are
    /// not followed, so a link is neither.
    pub fn is_not_regular(&self) -> bool {
        matches!(self.0, ErrorDetail::Unexpected { .. })
    }

    /// Returns true if the path is a symbolic link where a regular file or a folder is expected.
    pub fn is_symbolic_link(&self) -> bool {
        matches!(self.0, ErrorDetail::Unexpected { found: SYMBOLIC_LINK, .. })
    }

    /// Returns true if another user owns the file or folder, or can write to it.
    pub fn is_open_to_others(&self) -> bool {
        matches!(self.0, ErrorDetail::OpenToOthers { .. })
    }

    /// Returns true if other users can read the file, because the file system ignores changes of its mode.
    pub fn is_exposed(&self) -> bool {
        matches!(self.0, ErrorDetail::Exposed { .. })
    }

    /// Returns true if the file system does not support kernel locks (`flock`).
    pub fn is_unsupported(&self) -> bool {
        matches!(self.0, ErrorDetail::LocksUnsupported { .. })
    }

    /// Returns true if another process held the lock until the timeout.
    pub fn is_busy(&self) -> bool {
        matches!(self.0, ErrorDetail::Busy { .. })
    }
}

/// Returns the description of a file type in messages.
fn describe_file_type(file: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;

        if file.is_fifo() {
            return "a FIFO";
        }
        if file.is_socket() {
            return "a socket";
        }
        if file.is_block_device() || file.is_char_device() {
            return "a device";
        }
    }
    match file {
        file if file.is_symlink() => SYMBOLIC_LINK,
        file if file.is_dir() => "a folder",
        file if file.is_file() => "a regular file",
        _ => "a special file",
    }
}

/// Returns the message of the operating system, in lower case and without its number.
fn reason(error: &io::Error) -> String {
    let message = error.to_string();
    let reason = message.split(" (os error").next().unwrap_or_default();
    let mut letters = reason.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Returns true if `error` means that the file system does not support locks, for example `ENOLCK` of NFS.
fn is_lock_unsupported(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;

        let unsupported_errors = [Errno::NOLCK, Errno::NOSYS, Errno::NOTSUP, Errno::OPNOTSUPP].map(Errno::raw_os_error);
        if error.raw_os_error().is_some_and(|errno| unsupported_errors.contains(&errno)) {
            return true;
        }
    }
    error.kind() == ErrorKind::Unsupported
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn messages_name_the_path_and_the_reason() {
        let error = |errno: rustix::io::Errno| Error::io("write", Path::new("/x"), errno.into());
        assert_eq!(error(rustix::io::Errno::NOSPC).to_string(), "cannot write '/x': no space left on device");
        assert!(std::error::Error::source(&error(rustix::io::Errno::NOSPC)).is_none(), "the reason is printed once");
        assert_eq!(Error::busy("/x", Duration::from_secs(5)).to_string(), "'/x' was locked by another process for 5s");
    }

    #[cfg(unix)]
    #[test]
    fn full_disk_quota_and_file_size_limit_are_full_storage() {
        use rustix::io::Errno;

        let is_full = |errno: Errno| Error::io("write", Path::new("/x"), errno.into()).is_storage_full();
        assert!([Errno::NOSPC, Errno::DQUOT, Errno::FBIG].into_iter().all(is_full));
        assert!(!is_full(Errno::ACCESS) && !is_full(Errno::IO));
    }

    #[test]
    fn only_missing_lock_support_is_unsupported() {
        let error = |source| Error::lock(Path::new("/x.lock"), source);
        #[cfg(unix)]
        for errno in [rustix::io::Errno::NOLCK, rustix::io::Errno::OPNOTSUPP, rustix::io::Errno::NOSYS] {
            assert!(error(errno.into()).is_unsupported(), "{errno}");
        }
        let unsupported = error(ErrorKind::Unsupported.into());
        assert!(unsupported.is_unsupported() && unsupported.kind() == ErrorKind::Unsupported);
        assert!(!error(ErrorKind::PermissionDenied.into()).is_unsupported());
    }
}
