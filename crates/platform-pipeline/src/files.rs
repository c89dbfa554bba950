//! Files that are replaced atomically and durably.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use durable_fs::{folder, regular};

/// The state folder of this project next to a table.
pub(crate) const STATE: &str = ".aignostics";

/// Replaces the content of `path` with `bytes`, atomically and durably. Symbolic links and the file mode are preserved.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = folder_of(&path);
    // Known by its name, so that the next writer replaces what a killed one left.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!("{STATE}-{name}.part"));
    regular::remove(&temporary).map_err(plain)?;
    let written = write(&temporary, &path, bytes);
    if written.is_err() {
        // The first error is the one that matters.
        let _ = regular::remove(&temporary);
    }
    written?;
    sync_folder(&folder)
}

/// Writes `bytes` to `temporary`, with the rights of `path`, and gives it that name.
fn write(temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = regular::create(options.write(true).create_new(true), temporary, 0o666, "create").map_err(plain)?;
    if let Ok(before) = fs::metadata(path) {
        regular::set_permissions(temporary, before.permissions()).map_err(plain)?;
    }
    file.write_all(bytes)?;
    file.sync_all()?;
    regular::rename(temporary, path).map_err(plain)
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
