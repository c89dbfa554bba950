//! Atomic and durable file operations.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use durable_fs::{AtomicFile, folder};

/// The name of the folder next to a table of slides in which the library keeps its state.
pub(crate) const STATE_FOLDER: &str = ".aignostics";

/// Replaces the content of `path` with `bytes`, atomically and durably. A symbolic link and the file mode are
/// preserved. Concurrent writers of the same file must hold a lock; otherwise one of them may get an error.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = dunce::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    // The temporary name depends only on the file name, so that the next writer replaces the temporary file of a
    // writer that was killed.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder_of(&path).join(format!("{STATE_FOLDER}-{name}.part"));
    AtomicFile::new(path, temporary).with_mode(0o666).with_former_permissions().replace(bytes).map_err(into_io_error)
}

/// Creates a folder and its parents durably.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = folder_of(path);
    if parent != path {
        create_folder(&parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(&parent),
    }
}

/// Returns the folder of a file: `.` for a bare file name.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        Some(_) => PathBuf::from("."),
        None => path.to_owned(),
    }
}

/// Makes created, renamed and deleted directory entries durable, if the file system supports this.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    folder::sync(path).map_err(into_io_error)
}

pub(crate) fn into_io_error(error: durable_fs::Error) -> io::Error {
    io::Error::new(error.kind(), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn replace_succeeds_without_folder_sync_and_chmod_support() {
        use durable_fs::faults::{Fault, Operation};
        use rustix::io::Errno;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        let faults = [(Operation::SyncFolder, Errno::INVAL), (Operation::Chmod, Errno::PERM)];
        let faults = faults.map(|(operation, number)| Fault::inject(operation, folder.path(), number.raw_os_error()));
        replace(&file, b"new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        drop(faults);
        let _broken = Fault::inject(Operation::SyncFolder, folder.path(), Errno::IO.raw_os_error());
        replace(&file, b"newer").unwrap_err();
    }

    #[test]
    fn temporary_file_of_a_killed_writer_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let leftover = folder.path().join(".aignostics-file.part");
        fs::write(&leftover, "half").unwrap();
        replace(&folder.path().join("file"), b"new").unwrap();
        assert!(!leftover.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn replace_preserves_the_symbolic_link_and_the_file_mode() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
