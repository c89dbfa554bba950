//! Regular files. All other files are rejected before they are opened, because opening them may block or have side
//! effects.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::error::Error;
use crate::faults::{Operation, check};

/// The content of a file.
#[derive(Debug)]
pub struct Contents {
    bytes: Vec<u8>,
    is_open_to_others: bool,
}

impl Contents {
    /// Returns the bytes, up to the limit given to [`read`].
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns true if the group or others can read, write or execute the file. Always false on systems other than
    /// Unix.
    pub fn is_open_to_others(&self) -> bool {
        self.is_open_to_others
    }
}

/// Opens a regular file. A file created by `options` is accessible only to its owner (0600). `action` is the verb in
/// the error message, such as "read".
///
/// # Errors
///
/// [`Error::is_not_regular`]: `path` is a symbolic link, a folder, a FIFO, a socket or a device. Any other error: the
/// file cannot be opened.
pub fn open(options: &mut OpenOptions, path: &Path, action: &'static str) -> Result<File, Error> {
    create(options, path, 0o600, action)
}

/// Opens a regular file like [`open`]. A file created by `options` gets `mode` (Unix permission bits). If root creates
/// the file, the owner of the folder becomes its owner. Users can therefore access their files after a command with
/// `sudo`.
///
/// # Errors
///
/// The same as [`open`].
pub fn create(options: &mut OpenOptions, path: &Path, mode: u32, action: &'static str) -> Result<File, Error> {
    let is_new = !exists(path)?;
    let file = open_unchecked(options, path, mode, action)?;
    #[cfg(unix)]
    if is_new && let Some(folder) = path.parent() {
        crate::owner::give_to_owner_of(folder, |user, group| change_owner(&file, user, group));
    }
    #[cfg(not(unix))]
    let _ = is_new;
    Ok(file)
}

/// Gives a new file of root to another user. A file with other hard links keeps its owner, because it may be a file of
/// root that the user has linked here.
#[cfg(unix)]
fn change_owner(file: &File, user: u32, group: u32) {
    use std::os::unix::fs::{MetadataExt, fchown};

    if file.metadata().is_ok_and(|metadata| metadata.uid() == 0 && metadata.nlink() == 1) {
        let _ = fchown(file, Some(user), Some(group));
    }
}

/// Opens a path that may have been replaced after [`exists`]. Links are not followed, and opening a FIFO does not
/// block.
fn open_unchecked(options: &mut OpenOptions, path: &Path, mode: u32, action: &'static str) -> Result<File, Error> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;

        use rustix::fs::OFlags;

        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
        options.mode(mode);
    }
    #[cfg(windows)]
    {
        use std::os::windows::fs::OpenOptionsExt;

        /// Opens a link itself (`FILE_FLAG_OPEN_REPARSE_POINT`), so that its file type is rejected below.
        const OPEN_LINK: u32 = 0x0020_0000;

        options.custom_flags(OPEN_LINK);
        let _ = mode;
    }
    let io_error = |error| Error::io(action, path, error);
    let file = options.open(path).map_err(io_error)?;
    let file_type = file.metadata().map_err(io_error)?.file_type();
    if file_type.is_file() { Ok(file) } else { Err(Error::not_regular(path, file_type)) }
}

/// Reads up to `limit` bytes from the start of a regular file. Returns `None` if it does not exist.
///
/// # Errors
///
/// [`Error::is_not_regular`], or the file cannot be read.
pub fn read(path: &Path, limit: usize) -> Result<Option<Contents>, Error> {
    if !exists(path)? {
        return Ok(None);
    }
    let file = match open(OpenOptions::new().read(true), path, "read") {
        // The file was deleted after `exists`.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let io_error = |error| Error::io("read", path, error);
    let is_open_to_others = is_open_to_others(&file.metadata().map_err(io_error)?);
    let mut bytes = Vec::new();
    check(Operation::Read, path).map_err(io_error)?;
    file.take(limit as u64).read_to_end(&mut bytes).map_err(io_error)?;
    Ok(Some(Contents { bytes, is_open_to_others }))
}

/// Removes all access of the group and others to a regular file (0600). Does nothing on systems without modes.
///
/// # Errors
///
/// [`Error::is_exposed`]: the file system ignored the change without an error. [`Error::is_not_regular`]: `path` is not
/// a regular file. Any other error: the mode cannot be changed.
pub fn make_private(path: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;

        let io_error = |error| Error::io("restrict access to", path, error);
        let file = open(OpenOptions::new().read(true), path, "restrict access to")?;
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(io_error)?;
        // FAT and some network mounts ignore the change.
        if is_open_to_others(&file.metadata().map_err(io_error)?) {
            return Err(Error::exposed(path));
        }
    }
    let _ = path;
    Ok(())
}

/// Changes the permissions of a file that is not secret. Succeeds without a change if the file system does not permit
/// it (`EPERM` on some network mounts).
///
/// # Errors
///
/// The file does not exist, or the device reports an error.
pub fn set_permissions(path: &Path, permissions: fs::Permissions) -> Result<(), Error> {
    match check(Operation::Chmod, path).and_then(|()| fs::set_permissions(path, permissions)) {
        Err(error) if !matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
            Err(Error::io("change the permissions of", path, error))
        }
        _ => Ok(()),
    }
}

/// Returns true if `path` is a regular file, false if it does not exist.
///
/// # Errors
///
/// [`Error::is_not_regular`], or the path cannot be examined.
pub fn exists(path: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(true),
        Ok(metadata) => Err(Error::not_regular(path, metadata.file_type())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("read", path, error)),
    }
}

/// Deletes a file, a symbolic link or a special file. Succeeds if it does not exist.
///
/// # Errors
///
/// The file cannot be deleted.
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("delete", path, error)),
        _ => Ok(()),
    }
}

/// Renames a file within its folder, replacing the target.
///
/// # Errors
///
/// The file cannot be renamed.
pub fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    check(Operation::Rename, from).and_then(|()| fs::rename(from, to)).map_err(|error| Error::io("rename", from, error))
}

fn is_open_to_others(metadata: &fs::Metadata) -> bool {
    #[cfg(unix)]
    {
        std::os::unix::fs::MetadataExt::mode(metadata) & 0o077 != 0
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        false
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn file_that_becomes_special_after_the_check_is_rejected_without_blocking() {
        let folder = tempfile::tempdir().unwrap();
        let (fifo, link) = (folder.path().join("fifo"), folder.path().join("link"));
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        let read = |path| open_unchecked(OpenOptions::new().read(true), path, 0o600, "read");
        assert!(read(&fifo).unwrap_err().is_not_regular());
        assert!(read(folder.path()).unwrap_err().is_not_regular());
        read(&link).unwrap_err();
        open_unchecked(OpenOptions::new().write(true), &fifo, 0o600, "write").unwrap_err();
    }
}
