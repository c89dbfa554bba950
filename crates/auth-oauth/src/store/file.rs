use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use super::error::StoreError;

/// Opens a file that is no symbolic link. One that is created is its owner's alone from the start.
pub(super) fn open(options: &mut OpenOptions, path: &Path, action: &'static str) -> Result<File, StoreError> {
    refuse_symbolic_link(path)?;
    // Closes the gap between the look and the opening.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path).map_err(|error| StoreError::io(path, action, error))
}

/// What `path` holds, up to `limit` bytes; `None` if it is not there.
pub(super) fn read(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, StoreError> {
    if !is_there(path)? {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = open(OpenOptions::new().read(true), path, "read");
    match file.and_then(|file| {
        let read = file.take(limit as u64).read_to_end(&mut bytes);
        read.map_err(|error| StoreError::io(path, "read", error))
    }) {
        Ok(_) => Ok(Some(bytes)),
        // Deleted since the look.
        Err(_) if !is_there(path)? => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts `bytes` in place of what `path` held, at once for every reader, by way of `temporary`.
pub(super) fn replace(path: &Path, temporary: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    refuse_symbolic_link(path)?;
    // A writer that was killed may have left it.
    remove(temporary)?;
    let mut file = open(OpenOptions::new().write(true).create_new(true), temporary, "created")?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let outcome = written.map_err(|error| StoreError::io(temporary, "written", error));
    let outcome = outcome.and_then(|()| rename(temporary, path));
    if outcome.is_err() {
        // It holds a secret; what has failed is the error that counts.
        let _ = fs::remove_file(temporary);
    }
    outcome
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|error| StoreError::io(from, "renamed", error))
}

/// No error if it is not there.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::io(path, "deleted", error)),
        _ => Ok(()),
    }
}

/// An error if it is a symbolic link.
pub(super) fn is_there(path: &Path) -> Result<bool, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Err(StoreError::symbolic_link(path)),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io(path, "read", error)),
    }
}

fn refuse_symbolic_link(path: &Path) -> Result<(), StoreError> {
    is_there(path).map(drop)
}

/// Makes sure that the names in a folder are on the disk; other systems offer no way.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
