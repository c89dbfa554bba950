#[cfg(unix)]
use std::fs;

use durable_fs::folder;
use tempfile::TempDir;

#[cfg(unix)]
#[test]
fn folder_and_missing_parents_are_created_with_the_mode() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("state/tokens");
    assert!(!folder::exists(&path).unwrap());
    folder::ensure(&path, 0o700).unwrap();
    assert_eq!((crate::mode(&home.path().join("state")), crate::mode(&path)), (0o700, 0o700));
    folder::ensure(&path, 0o700).unwrap();
    assert!(folder::exists(&path).unwrap());
}

/// A command with `sudo` must not lock the user out of the user's files.
#[cfg(target_os = "linux")]
#[test]
fn files_that_root_creates_belong_to_the_owner_of_the_folder() {
    use std::os::unix::fs::{MetadataExt, chown};

    let home = TempDir::new().unwrap();
    if chown(home.path(), Some(1234), Some(1235)).is_err() {
        return crate::needs::absent("root", "run the tests as root");
    }
    let folder = home.path().join("state/tokens");
    folder::ensure(&folder, 0o700).unwrap();
    let (file, temporary, lock) = (folder.join("file"), folder.join("file.tmp"), folder.join("file.lock"));
    durable_fs::AtomicFile::new(&file, &temporary).replace(b"1").unwrap();
    let lock_file = durable_fs::LockFile::try_acquire(&lock).unwrap().unwrap();
    for path in [home.path().join("state"), folder, file, lock] {
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (1234, 1235), "{}", path.display());
    }
    drop(lock_file);
}

#[cfg(unix)]
#[test]
fn folders_that_others_can_change_are_rejected() {
    let home = TempDir::new().unwrap();
    for (mode, is_open) in [(0o777, true), (0o720, true), (0o702, true), (0o755, false), (0o700, false)] {
        crate::set_mode(home.path(), mode);
        for outcome in [folder::exists(home.path()).map(drop), folder::ensure(home.path(), 0o700)] {
            assert_eq!(outcome.is_err_and(|error| error.is_open_to_others()), is_open, "{mode:o}");
        }
    }
}

#[cfg(unix)]
#[test]
fn links_and_files_are_not_folders() {
    let home = TempDir::new().unwrap();
    let (file, link) = (home.path().join("file"), home.path().join("link"));
    fs::write(&file, "").unwrap();
    std::os::unix::fs::symlink(home.path(), &link).unwrap();
    for path in [file, link] {
        assert!(folder::exists(&path).unwrap_err().is_not_regular());
        assert!(folder::ensure(&path, 0o700).unwrap_err().is_not_regular());
    }
}

#[test]
fn sync_and_free_space_fail_if_the_folder_is_missing() {
    let home = TempDir::new().unwrap();
    folder::sync(home.path()).unwrap();
    assert_ne!(folder::free_space(home.path()).unwrap(), Some(0));
    if cfg!(unix) {
        let missing = home.path().join("missing");
        assert_eq!(folder::sync(&missing).unwrap_err().kind(), std::io::ErrorKind::NotFound);
        assert_eq!(folder::free_space(&missing).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
}
