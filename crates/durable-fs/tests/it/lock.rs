use std::env;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use durable_fs::{Identity, LockFile, Locking};
use tempfile::TempDir;

/// The variable with the path of the lock file that the child process acquires.
const LOCK_PATH: &str = "DURABLE_FS_TEST_LOCK_PATH";

#[test]
fn lock_excludes_other_processes_until_they_end() {
    if let Some(path) = env::var_os(LOCK_PATH) {
        let _lock = LockFile::try_acquire(path).unwrap().unwrap();
        println!("held");
        // Holds the lock until the parent kills this process.
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.lock");
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["lock::lock_excludes_other_processes_until_they_end", "--exact", "--nocapture"]);
    command.env(LOCK_PATH, &path).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("held")));

    assert!(LockFile::try_acquire(&path).unwrap().is_none());
    let error = LockFile::acquire(&path, Duration::from_millis(1)).unwrap_err();
    assert!(error.is_busy() && error.path() == path, "{error:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    LockFile::acquire(&path, Duration::from_secs(60)).unwrap();
    assert!(path.exists(), "the lock file is not deleted");
}

#[test]
fn dropped_lock_can_be_acquired_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.lock");
    let lock = LockFile::try_acquire(&path).unwrap().unwrap();
    assert!(LockFile::try_acquire(&path).unwrap().is_none());
    drop(lock);
    LockFile::try_acquire(&path).unwrap().unwrap();
    #[cfg(unix)]
    assert_eq!(crate::mode(&path), 0o600);
}

#[test]
fn locked_content_can_be_read_renamed_and_replaced() {
    let folder = TempDir::new().unwrap();
    let (path, moved_path) = (folder.path().join("part"), folder.path().join("aside"));
    let open = |path: &Path| {
        let mut options = OpenOptions::new();
        LockFile::try_open(options.create(true).truncate(false), path, 0o600, Locking::Kernel).unwrap()
    };
    let (mut file, lock) = open(&path).unwrap();
    file.write_all(b"content").unwrap();
    assert!(open(&path).is_none());
    assert_eq!(fs::read(&path).unwrap(), b"content");
    let own_identity = Identity::of_file(&file).unwrap();
    let is_own = |path: &Path| Identity::of_path(path).unwrap().unwrap().is_same_file(&own_identity);
    assert!(is_own(&path) && own_identity.has_one_name());
    fs::rename(&path, &moved_path).unwrap();
    fs::write(&path, b"another").unwrap();
    assert!(!is_own(&path) && is_own(&moved_path));
    assert!(open(&moved_path).is_none(), "the lock belongs to the file");
    drop((file, lock));
    assert!(open(&moved_path).is_some());
}

#[cfg(unix)]
#[test]
fn special_files_are_rejected_as_lock_files() {
    let folder = TempDir::new().unwrap();
    for (_, path) in crate::special_files(folder.path()) {
        assert!(LockFile::try_acquire(&path).unwrap_err().is_not_regular(), "{}", path.display());
    }
    assert!(!folder.path().join("nowhere").exists(), "the target of a link is not created");
}
