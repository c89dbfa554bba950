use std::fs;

use durable_fs::regular;
use tempfile::TempDir;

#[test]
fn read_returns_at_most_the_limit() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    assert!(regular::read(&path, 10).unwrap().is_none());
    fs::write(&path, "0123456789").unwrap();
    assert_eq!(regular::read(&path, 10).unwrap().unwrap().bytes(), b"0123456789");
    assert_eq!(regular::read(&path, 4).unwrap().unwrap().bytes(), b"0123");
}

#[cfg(unix)]
#[test]
fn special_files_are_rejected_without_blocking() {
    let folder = TempDir::new().unwrap();
    for (kind, path) in crate::special_files(folder.path()) {
        for error in [
            regular::exists(&path).unwrap_err(),
            regular::read(&path, 10).unwrap_err(),
            regular::make_private(&path).unwrap_err(),
        ] {
            assert!(error.is_not_regular(), "{error:?}");
            assert_eq!(error.is_symbolic_link(), kind == "a symbolic link");
            assert_eq!(error.to_string(), format!("'{}' is {kind}, expected a regular file", path.display()));
            assert_eq!(error.path(), path);
        }
    }
}

#[cfg(unix)]
#[test]
fn access_by_others_is_reported_and_can_be_removed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "secret").unwrap();
    for exposed in [0o640, 0o604, 0o660, 0o644] {
        crate::set_mode(&path, exposed);
        assert!(regular::read(&path, 10).unwrap().unwrap().is_open_to_others(), "{exposed:o}");
        regular::make_private(&path).unwrap();
        assert_eq!(crate::mode(&path), 0o600);
        assert!(!regular::read(&path, 10).unwrap().unwrap().is_open_to_others());
    }
}

#[test]
fn removing_a_missing_file_succeeds() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    regular::remove(&path).unwrap();
    fs::write(&path, "").unwrap();
    regular::remove(&path).unwrap();
    assert!(!path.exists());
    assert!(regular::remove(folder.path()).is_err(), "a folder is not a file");
}
