//! The removal of temporary files of killed processes.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use durable_fs::{LockFile, Locking, folder, regular};

use crate::names::target::remove;
use crate::transfer::partial_file::plain;

/// Removes temporary files of killed processes from a folder locked by this process. Earlier versions gave them random
/// names. A `.part` file with its `.state` is kept.
pub(super) fn sweep(folder: &Path, locking: Locking) -> io::Result<()> {
    let mut is_changed = false;
    for (name, about) in list(folder)? {
        let random = name.strip_prefix('.').and_then(|name| name.strip_suffix(".part"));
        let is_random =
            random.is_some_and(|random| random.len() == 6 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if !is_random || !about.is_file() {
            continue;
        }
        let part = folder.join(&name);
        let has_state = fs::symlink_metadata(part.with_extension("state")).is_ok();
        if !has_state && !is_locked(&part, locking) {
            remove(&part)?;
            is_changed = true;
        }
    }
    if is_changed { folder::sync(folder).map_err(plain) } else { Ok(()) }
}

/// Returns true if another process has locked a part.
pub(super) fn is_locked(part: &Path, locking: Locking) -> bool {
    let Ok(file) = regular::open(OpenOptions::new().read(true).write(true), part, "open") else { return false };
    !matches!(LockFile::try_lock(file, part, locking), Ok(Some(_)))
}

/// Returns the file names in a folder that are valid Unicode. Downloads create no others.
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
