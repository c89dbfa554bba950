use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use durable_fs::{Identity, LockFile, Locking, regular};

use super::state::plain;

/// The maximum number of attempts to open a part that other processes rename or remove.
const ATTEMPTS: u32 = 100;

/// Opens and locks the part file; `None` if another process has locked it.
pub(super) fn lock(path: &Path, locking: Locking) -> io::Result<Option<(File, LockFile)>> {
    for attempt in 1.. {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let file = regular::create(&mut options, path, 0o666, "open").map_err(plain)?;
        let Some(lock) = LockFile::try_lock(file.try_clone()?, path, locking).map_err(plain)? else { return Ok(None) };
        let own = Identity::of_file(&file)?;
        // If identities always differ on this file system, they prove nothing: the content is checked before the file
        // is renamed.
        if attempt == ATTEMPTS || Identity::of_path(path)?.is_some_and(|named| own.is_same_file(&named)) {
            return Ok(Some((file, lock)));
        }
        // The process that held the lock has renamed or removed the file since it was opened.
    }
    Ok(None)
}
