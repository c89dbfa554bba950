//! Files that determine where secrets are sent, such as a settings file with a server address. A file that another user
//! can change is rejected.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::Error;

/// Reads up to `limit` bytes from the start of a regular file that only the current user or root can change. Returns
/// `None` if it does not exist.
///
/// Links are followed. The file, its folder and the folder of the link must belong to the current user or to root, and
/// must not be writable for the group or others. The open file is checked instead of its path, so that the file cannot
/// be replaced after the check. On systems other than Unix, owners and modes are not checked.
///
/// # Errors
///
/// [`Error::is_open_to_others`]: another user can change the file or the folder in [`Error::path`].
/// [`Error::is_not_regular`]: `path` is not a regular file. Any other error: the file cannot be read.
pub fn read(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, Error> {
    let read_error = |error| Error::io("read", path, error);
    let file = match open(path) {
        // A link without a target is an error, because `symlink_metadata` finds the link.
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => return Ok(None),
        file => file.map_err(read_error)?,
    };
    let metadata = file.metadata().map_err(read_error)?;
    if !metadata.is_file() {
        return Err(Error::not_regular(path, metadata.file_type()));
    }
    check_access(path, &metadata)?;
    let target = path.canonicalize().map_err(read_error)?;
    for path in [path, &target] {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        check_access(folder, &fs::metadata(folder).map_err(read_error)?)?;
    }
    let mut bytes = Vec::new();
    file.take(limit as u64).read_to_end(&mut bytes).map_err(read_error)?;
    Ok(Some(bytes))
}

/// Opens a file without blocking. A blocking open of a FIFO would wait for a writer.
fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;

        use rustix::fs::OFlags;

        options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
    }
    options.open(path)
}

#[cfg(unix)]
fn check_access(path: &Path, metadata: &fs::Metadata) -> Result<(), Error> {
    use crate::owner::{Owners, is_open_to_others};

    if is_open_to_others(metadata, Owners::UserAndRoot) { Err(Error::open_to_others(path)) } else { Ok(()) }
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "owners are checked only on Unix")]
fn check_access(_path: &Path, _metadata: &fs::Metadata) -> Result<(), Error> {
    Ok(())
}
