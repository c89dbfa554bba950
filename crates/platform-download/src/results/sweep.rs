//! Removal of the temporary files of killed processes.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use durable_fs::{LockFile, Locking, folder};

use crate::names::target::remove;
use crate::transfer::partial_file::into_io_error;

/// Removes temporary files of killed processes from a folder that this process has locked. Earlier versions gave them
/// random names. A `.part` file with a `.state` file is not removed, because a download can resume with it.
pub(super) fn sweep(folder: &Path, locking: Locking) -> io::Result<()> {
    let mut is_changed = false;
    for (name, metadata) in list(folder)? {
        let random = name.strip_prefix('.').and_then(|name| name.strip_suffix(".part"));
        let is_random =
            random.is_some_and(|random| random.len() == 6 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if !is_random || !metadata.is_file() {
            continue;
        }
        let part = folder.join(&name);
        let has_state = fs::symlink_metadata(part.with_extension("state")).is_ok();
        if !has_state && !is_locked(&part, locking) {
            remove(&part)?;
            is_changed = true;
        }
    }
    if is_changed { folder::sync(folder).map_err(into_io_error) } else { Ok(()) }
}

/// Returns true if another process has locked the file at `path`, or if this cannot be determined.
pub(super) fn is_locked(path: &Path, locking: Locking) -> bool {
    match LockFile::try_open(&mut OpenOptions::new(), path, 0o600, locking) {
        Ok(opened) => opened.is_none(),
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
