use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use durable_fs::{Identity, LockFile, Locking};

use super::state::into_io_error;

/// The maximum number of attempts to lock a partial file that other processes rename or remove.
const ATTEMPTS: u32 = 100;

/// Opens and locks a partial file. Returns `None` if another process has locked it.
pub(super) fn lock(path: &Path, locking: Locking) -> io::Result<Option<(File, LockFile)>> {
    for attempt in 1.. {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false);
        let opened = LockFile::try_open(&mut options, path, 0o666, locking).map_err(into_io_error)?;
        let Some((file, lock)) = opened else { return Ok(None) };
        let own = Identity::of_file(&file)?;
        // On a file system without stable file identities the last attempt is accepted. The content is verified before
        // the file is published.
        if attempt == ATTEMPTS || Identity::of_path(path)?.is_some_and(|named| own.is_same_file(&named)) {
            return Ok(Some((file, lock)));
        }
        // The process that held the lock renamed or removed the file after it was opened here.
    }
    Ok(None)
}
