use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use durable_fs::{Identity, LockFile, Locking};

use super::state::into_io_error;

/// The maximum number of attempts to lock a partial file that other processes rename or remove.
const MAX_ATTEMPTS: u32 = 100;

/// Opens and locks a partial file. Returns `None` if another process has locked it.
pub(super) fn lock(path: &Path, locking: Locking) -> io::Result<Option<(File, LockFile)>> {
    for attempt in 1.. {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false);
        let locked_file = LockFile::try_open(&mut options, path, 0o666, locking).map_err(into_io_error)?;
        let Some((file, lock)) = locked_file else { return Ok(None) };
        let identity = Identity::of_file(&file)?;
        // On a file system without stable file identities, the last attempt is accepted. That is safe, because the
        // content is verified before the file is published.
        if attempt == MAX_ATTEMPTS || Identity::of_path(path)?.is_some_and(|at_path| identity.is_same_file(&at_path)) {
            return Ok(Some((file, lock)));
        }
        // The process that held the lock renamed or removed the file after it was opened here.
    }
    Ok(None)
}
