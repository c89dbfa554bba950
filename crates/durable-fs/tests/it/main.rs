//! Real file systems: full disks, special files, other processes.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod folder;
mod lock;
#[cfg(target_os = "linux")]
#[path = "../../../../tests/support/needs.rs"]
mod needs;
mod regular;
mod replace;
#[cfg(target_os = "linux")]
#[path = "../../../../tests/support/small_disk.rs"]
mod small_disk;
mod trusted;

use std::fs;
use std::path::Path;

/// Returns the names of the files in a folder, in order.
fn file_names(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;

    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Creates one file of each kind that is not a regular file. Returns their descriptions and paths.
#[cfg(unix)]
fn special_files(folder: &Path) -> Vec<(&'static str, std::path::PathBuf)> {
    let path = |name| folder.join(name);
    fs::create_dir(path("folder")).unwrap();
    fs::write(path("target"), "untouched").unwrap();
    std::os::unix::fs::symlink(path("target"), path("link")).unwrap();
    std::os::unix::fs::symlink(path("nowhere"), path("dangling")).unwrap();
    let status = std::process::Command::new("mkfifo").arg(path("fifo")).status().unwrap();
    assert!(status.success());
    // The socket file remains when its listener is dropped.
    drop(std::os::unix::net::UnixListener::bind(path("socket")).unwrap());
    vec![
        ("a folder", path("folder")),
        ("a symbolic link", path("link")),
        ("a symbolic link", path("dangling")),
        ("a FIFO", path("fifo")),
        ("a socket", path("socket")),
        ("a device", "/dev/null".into()),
    ]
}
