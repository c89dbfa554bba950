//! Folders: creation, ownership, synchronization and free space.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::error::Error;
use crate::faults::{Operation, check};
#[cfg(unix)]
use crate::owner;
use crate::regular;

/// Returns true if `path` is a folder that only its owner can change, false if it does not exist.
///
/// # Errors
///
/// [`Error::is_open_to_others`]: the folder belongs to another user, or the group or others can write to it.
/// [`Error::is_not_regular`]: `path` is not a folder; a symbolic link to a folder is not accepted. Any other error: the
/// path cannot be examined.
pub fn exists(path: &Path) -> Result<bool, Error> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        result => result.map_err(|error| Error::io("read", path, error))?,
    };
    if !metadata.is_dir() {
        return Err(Error::not_folder(path, metadata.file_type()));
    }
    #[cfg(unix)]
    if owner::is_open_to_others(&metadata, owner::Owners::User) {
        return Err(Error::open_to_others(path));
    }
    Ok(true)
}

/// Creates a folder and its missing parents with `mode` (Unix permission bits), unless the folder [exists]. If root
/// creates them, the owner of the existing parent becomes their owner.
///
/// # Errors
///
/// The errors of [`exists`], or the folder cannot be created.
pub fn ensure(path: &Path, mode: u32) -> Result<(), Error> {
    if exists(path)? {
        return Ok(());
    }
    let missing_folders: Vec<_> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
    #[cfg(not(unix))]
    let _ = mode;
    builder.create(path).map_err(|error| Error::io("create", path, error))?;
    #[cfg(unix)]
    for folder in missing_folders.iter().rev() {
        owner::give_to_owner_of(folder.parent().unwrap_or(folder), |user, group| {
            let _ = std::os::unix::fs::lchown(folder, Some(user), Some(group));
        });
    }
    for parent in missing_folders.into_iter().filter_map(Path::parent) {
        // Errors are ignored, because a parent that is writable but not readable cannot be synced.
        let _ = sync(parent);
    }
    Ok(())
}

/// Makes the created, renamed and deleted names in a folder durable (`fsync`). Succeeds without effect if the file
/// system does not support this, and on systems other than Unix.
///
/// # Errors
///
/// The folder cannot be opened, or the device reports an error.
pub fn sync(path: &Path) -> Result<(), Error> {
    if !cfg!(unix) {
        return Ok(());
    }
    // The parent of a relative name is an empty path.
    let folder = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let sync_result = File::open(folder).and_then(|file| {
        check(Operation::SyncFolder, folder)?;
        file.sync_all()
    });
    match sync_result {
        Err(error) if !is_folder_sync_unsupported(&error) => Err(Error::io("synchronize", path, error)),
        _ => Ok(()),
    }
}

/// Makes all earlier writes to the file system of a folder durable (`syncfs`). Returns false if the system does not
/// support `syncfs`.
///
/// # Errors
///
/// The folder cannot be opened, or the device reports an error. Linux reports write errors here since version 5.8.
pub fn sync_file_system(path: &Path) -> Result<bool, Error> {
    #[cfg(target_os = "linux")]
    {
        use rustix::io::Errno;

        let sync_result = File::open(path).and_then(|folder| {
            check(Operation::SyncFileSystem, path)?;
            Ok(rustix::fs::syncfs(&folder)?)
        });
        match sync_result {
            Err(error) if error.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => Ok(false),
            result => result.map(|()| true).map_err(|error| Error::io("synchronize the file system of", path, error)),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        Ok(false)
    }
}

/// Returns the free space in bytes that the user can write to a folder, or `None` if the file system does not report
/// it.
///
/// # Errors
///
/// The file system cannot be examined.
pub fn free_space(path: &Path) -> Result<Option<u64>, Error> {
    #[cfg(unix)]
    {
        let examine_error = |error| Error::io("examine", path, error);
        check(Operation::FreeSpace, path).map_err(examine_error)?;
        let file_system = rustix::fs::statvfs(path).map_err(|error| examine_error(error.into()))?;
        Ok(free_bytes(file_system.f_blocks, file_system.f_bavail, file_system.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(None)
    }
}

/// Returns the free space, or `None` for a file system with zero blocks, which does not report its size.
#[cfg(unix)]
fn free_bytes(blocks: u64, available: u64, block_size: u64) -> Option<u64> {
    (blocks > 0).then(|| available.saturating_mul(block_size))
}

/// The length of the file that [`probe`] writes, in bytes.
const PROBE_BYTES: usize = 4096;

/// Checks that files can be written to a folder, by writing a file with the name `temporary` and removing it. No other
/// writer may use this name. A file with this name that a killed process left is replaced.
///
/// # Errors
///
/// [`Error::is_storage_full`]: the disk is full. Any other error: files cannot be written to the folder.
pub fn probe(folder: &Path, temporary: &str) -> Result<(), Error> {
    use std::io::Write;

    let path = folder.join(temporary);
    regular::remove(&path)?;
    let mut file = regular::open(OpenOptions::new().write(true).create_new(true), &path, "create")?;
    let write_result =
        check(Operation::Write, &path).and_then(|()| file.write_all(&[0; PROBE_BYTES])).and_then(|()| file.sync_all());
    drop(file);
    regular::remove(&path)?;
    write_result.map_err(|error| Error::io("write", &path, error))
}

/// Returns true if `error` means that the file system does not support `fsync` on folders.
fn is_folder_sync_unsupported(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;

        let unsupported_errors = [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS, Errno::BADF];
        error.raw_os_error().is_some_and(|errno| unsupported_errors.map(Errno::raw_os_error).contains(&errno))
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        true
    }
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn free_space_is_unknown_if_the_file_system_has_zero_blocks() {
        assert_eq!(
            (free_bytes(0, 0, 4096), free_bytes(10, 0, 4096), free_bytes(10, 2, 4096)),
            (None, Some(0), Some(8192))
        );
    }

    #[test]
    fn only_unsupported_folder_sync_is_ignored() {
        for errno in [Errno::INVAL, Errno::NOTSUP, Errno::BADF] {
            assert!(is_folder_sync_unsupported(&errno.into()), "{errno}");
        }
        for errno in [Errno::IO, Errno::NOSPC, Errno::ACCESS] {
            assert!(!is_folder_sync_unsupported(&errno.into()), "{errno}");
        }
    }
}
