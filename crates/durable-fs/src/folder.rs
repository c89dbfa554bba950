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
/// [`Error::is_not_regular`]: `path` is a symbolic link or not a folder. Any other error: the path cannot be examined.
pub fn exists(path: &Path) -> Result<bool, Error> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        found => found.map_err(|error| Error::io("read", path, error))?,
    };
    if !found.is_dir() {
        return Err(Error::not_folder(path, found.file_type()));
    }
    #[cfg(unix)]
    if owner::is_open_to_others(&found, owner::Owners::User) {
        return Err(Error::open_to_others(path));
    }
    Ok(true)
}

/// Creates a folder and its missing parents with `mode` (Unix permission bits), unless the folder [exists]. Folders that
/// root creates get the owner of the existing parent.
///
/// # Errors
///
/// The errors of [`exists`], or the folder cannot be created.
pub fn ensure(path: &Path, mode: u32) -> Result<(), Error> {
    if exists(path)? {
        return Ok(());
    }
    let missing: Vec<_> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
    #[cfg(not(unix))]
    let _ = mode;
    builder.create(path).map_err(|error| Error::io("create", path, error))?;
    #[cfg(unix)]
    for folder in missing.iter().rev() {
        owner::give_to_owner_of(folder.parent().unwrap_or(folder), |user, group| {
            let _ = std::os::unix::fs::lchown(folder, Some(user), Some(group));
        });
    }
    for parent in missing.into_iter().filter_map(Path::parent) {
        // Best effort: a parent may be writable but not readable, so that it cannot be synced.
        let _ = sync(parent);
    }
    Ok(())
}

/// Makes created, renamed and deleted names in a folder durable (`fsync`). Does nothing, successfully, if the file system
/// does not support this, and on systems other than Unix.
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
    let synced = File::open(folder).and_then(|file| {
        check(Operation::SyncFolder, folder)?;
        file.sync_all()
    });
    match synced {
        Err(error) if !cannot_sync(&error) => Err(Error::io("synchronize", path, error)),
        _ => Ok(()),
    }
}

/// Makes everything durable that was written to the file system of a folder so far (`syncfs`). Returns false if the system
/// does not support `syncfs`.
///
/// # Errors
///
/// The folder cannot be opened, or the device reports an error. Linux reports write errors here since version 5.8.
pub fn sync_file_system(path: &Path) -> Result<bool, Error> {
    #[cfg(target_os = "linux")]
    {
        use rustix::io::Errno;

        let synced = File::open(path).and_then(|folder| {
            check(Operation::SyncFileSystem, path)?;
            Ok(rustix::fs::syncfs(&folder)?)
        });
        match synced {
            Err(error) if error.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => Ok(false),
            synced => synced.map(|()| true).map_err(|error| Error::io("synchronize the file system of", path, error)),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        Ok(false)
    }
}

/// Returns the free space in bytes that the user can write to a folder, or `None` if the file system does not report it.
///
/// # Errors
///
/// The file system cannot be examined.
pub fn free_space(path: &Path) -> Result<Option<u64>, Error> {
    #[cfg(unix)]
    {
        let failed = |error| Error::io("examine", path, error);
        check(Operation::FreeSpace, path).map_err(failed)?;
        let about = rustix::fs::statvfs(path).map_err(|error| failed(error.into()))?;
        Ok(free(about.f_blocks, about.f_bavail, about.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(None)
    }
}

/// Returns the free space. A file system with zero blocks does not report its size.
#[cfg(unix)]
fn free(blocks: u64, available: u64, block_size: u64) -> Option<u64> {
    (blocks > 0).then(|| available.saturating_mul(block_size))
}

/// The length of the file that [`probe`] writes, in bytes.
const PROBE: usize = 4096;

/// Checks that files can be written to a folder by writing one. `temporary` is the name of that file. No other writer may
/// use the name; a file that a killed process left there is replaced.
///
/// # Errors
///
/// [`Error::is_storage_full`]: the disk is full. Any other error: files cannot be written to the folder.
pub fn probe(folder: &Path, temporary: &str) -> Result<(), Error> {
    use std::io::Write;

    let path = folder.join(temporary);
    regular::remove(&path)?;
    let mut file = regular::open(OpenOptions::new().write(true).create_new(true), &path, "create")?;
    let written =
        check(Operation::Write, &path).and_then(|()| file.write_all(&[0; PROBE])).and_then(|()| file.sync_all());
    drop(file);
    regular::remove(&path)?;
    written.map_err(|error| Error::io("write", &path, error))
}

/// Returns true if a file system does not support `fsync` on folders.
fn cannot_sync(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;

        let unsupported = [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS, Errno::BADF];
        error.raw_os_error().is_some_and(|number| unsupported.map(Errno::raw_os_error).contains(&number))
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
        assert_eq!((free(0, 0, 4096), free(10, 0, 4096), free(10, 2, 4096)), (None, Some(0), Some(8192)));
    }

    #[test]
    fn only_unsupported_folder_sync_is_ignored() {
        for number in [Errno::INVAL, Errno::NOTSUP, Errno::BADF] {
            assert!(cannot_sync(&number.into()), "{number}");
        }
        for number in [Errno::IO, Errno::NOSPC, Errno::ACCESS] {
            assert!(!cannot_sync(&number.into()), "{number}");
        }
    }
}
