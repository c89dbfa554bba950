use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use durable_fs::LockFile;
use tempfile::TempDir;

/// The variable with the path of the lock file that the child process acquires.
const HELD: &str = "DURABLE_FS_TEST_HELD";

#[test]
fn lock_excludes_other_processes_until_they_end() {
    if let Some(path) = env::var_os(HELD) {
        let _lock = LockFile::try_acquire(path).unwrap().unwrap();
        println!("held");
        // Until the parent kills this process.
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.lock");
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["lock::lock_excludes_other_processes_until_they_end", "--exact", "--nocapture"]);
    command.env(HELD, &path).stdin(Stdio::piped()).stdout(Stdio::piped());
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
fn dropped_lock_is_free() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.lock");
    let lock = LockFile::try_acquire(&path).unwrap().unwrap();
    assert!(LockFile::try_acquire(&path).unwrap().is_none());
    drop(lock);
    LockFile::try_acquire(&path).unwrap().unwrap();
    #[cfg(unix)]
    assert_eq!(crate::mode(&path), 0o600);
}

#[cfg(unix)]
#[test]
fn special_files_are_not_lock_files() {
    let folder = TempDir::new().unwrap();
    for (_, path) in crate::special_files(folder.path()) {
        assert!(LockFile::try_acquire(&path).unwrap_err().is_not_regular(), "{}", path.display());
    }
    assert!(!folder.path().join("nowhere").exists(), "the target of a link is not created");
}
