//! Removal of the temporary files of killed processes.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use durable_fs::{LockFile, Locking, folder};

use crate::names::target::remove;
use crate::transfer::partial_file::into_io_error;

/// Removes temporary files of killed processes from a folder that this process has locked. Earlier versions created
/// these files, with random names. A `.part` file with a `.state` file is not removed, because a download can resume
/// with it.
pub(super) fn sweep(folder: &Path, locking: Locking) -> io::Result<()> {
    let mut has_removed_files = false;
    for (name, metadata) in list(folder)? {
        let stem = name.strip_prefix('.').and_then(|name| name.strip_suffix(".part"));
        let is_random =
            stem.is_some_and(|stem| stem.len() == 6 && stem.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if !is_random || !metadata.is_file() {
            continue;
        }
        let part = folder.join(&name);
        let has_state = fs::symlink_metadata(part.with_extension("state")).is_ok();
        if !has_state && !is_locked(&part, locking) {
            remove(&part)?;
            has_removed_files = true;
        }
    }
    if has_removed_files { folder::sync(folder).map_err(into_io_error) } else { Ok(()) }
}

/// Returns true if another process has locked the file at `path`, or if this cannot be determined.
pub(super) fn is_locked(path: &Path, locking: Locking) -> bool {
    match LockFile::try_open(&mut OpenOptions::new(), path, 0o600, locking) {
        Ok(lock) => lock.is_none(),
        Err(error) => error.kind() != io::ErrorKind::NotFound && !error.is_not_regular(),
    }
}

/// Returns the entries of a folder whose names are valid Unicode. Downloads create no other names.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(String, fs::Metadata)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            entries.push((name, entry.metadata()?));
        }
    }
    Ok(entries)
}
