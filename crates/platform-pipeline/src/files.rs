//! Files that are replaced atomically and durably.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use durable_fs::{AtomicFile, folder};

/// The state folder of this project next to a table.
pub(crate) const STATE: &str = ".aignostics";

/// Replaces the content of `path` with `bytes`, atomically and durably. Symbolic links and the file mode are preserved.
/// Writers of one file at the same time get an error, unless they hold a lock.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // The name depends on that of the file only, so that the next writer replaces what a killed one left.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder_of(&path).join(format!("{STATE}-{name}.part"));
    AtomicFile::new(path, temporary).with_mode(0o666).with_former_permissions().replace(bytes).map_err(plain)
}

/// Creates a folder and its parents durably.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = folder_of(path);
    if above != path {
        create_folder(&above)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(&above),
    }
}

/// Returns the folder of a file.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        Some(_) => PathBuf::from("."),
        None => path.to_owned(),
    }
}

/// Makes the names in a folder durable, if the file system supports this.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    folder::sync(path).map_err(plain)
}

fn plain(error: durable_fs::Error) -> io::Error {
    io::Error::new(error.kind(), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn file_system_that_can_do_less_holds_a_table() {
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
    fn file_that_a_killed_writer_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(".aignostics-file.part");
        fs::write(&left, "half").unwrap();
        replace(&folder.path().join("file"), b"new").unwrap();
        assert!(!left.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn a_file_that_is_replaced_keeps_its_link_and_its_rights() {
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
