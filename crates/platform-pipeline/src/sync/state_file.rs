//! The file of the state in a folder: `.aignostics/sync.json`. Links are not followed, because other users may
//! have created them in a shared folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use durable_fs::{AtomicFile, regular};

use crate::error::Error;
use crate::files;

/// The mode of the file; the umask applies.
const MODE: u32 = 0o666;

/// Reads the file, if it exists.
///
/// # Errors
///
/// The file exists but cannot be read, or the file or its folder is a link or another special file.
pub(super) fn read(folder: &Path) -> Result<Option<Vec<u8>>, Error> {
    let path = path(folder);
    let contents = check_folder(&path).and_then(|()| regular::read(&path, usize::MAX).map_err(files::into_io_error));
    let contents = contents.map_err(|error| Error::io(format!("cannot read '{}'", path.display()), error))?;
    Ok(contents.map(|contents| contents.bytes().to_vec()))
}

/// Replaces the file durably. The caller holds the lock of the folder.
///
/// # Errors
///
/// The file cannot be written. The previous file is unchanged.
pub(super) fn write(folder: &Path, bytes: &[u8]) -> Result<(), Error> {
    let path = path(folder);
    let parent = files::folder_of(&path);
    let file = AtomicFile::new(&path, parent.join("sync.json.part")).with_mode(MODE).with_former_permissions();
    let outcome = check_folder(&path)
        .and_then(|()| files::create_folder(&parent))
        .and_then(|()| file.replace(bytes).map_err(files::into_io_error));
    outcome.map_err(|error| Error::io(format!("cannot write '{}'", path.display()), error))
}

fn path(folder: &Path) -> PathBuf {
    folder.join(files::STATE_FOLDER).join("sync.json")
}

/// Refuses a link as the folder of the file.
fn check_folder(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(files::folder_of(path)) {
        Ok(metadata) if metadata.is_symlink() => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "its folder is a symbolic link"))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_refused_and_their_targets_unchanged() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = other.path().join("sync.json");
        fs::write(&target, "other").unwrap();
        symlink(other.path(), folder.path().join(files::STATE_FOLDER)).unwrap();
        read(folder.path()).unwrap_err();
        write(folder.path(), b"new").unwrap_err();
        fs::remove_file(folder.path().join(files::STATE_FOLDER)).unwrap();
        write(folder.path(), b"own").unwrap();
        assert_eq!(read(folder.path()).unwrap().unwrap(), b"own");
        fs::remove_file(path(folder.path())).unwrap();
        symlink(&target, path(folder.path())).unwrap();
        read(folder.path()).unwrap_err();
        write(folder.path(), b"new").unwrap_err();
        assert_eq!(fs::read_to_string(&target).unwrap(), "other");
    }

    #[test]
    fn fifo_as_the_state_is_refused_without_hanging() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(files::STATE_FOLDER)).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path(folder.path())).status().unwrap().success());
        read(folder.path()).unwrap_err();
    }
}
