//! Files that determine where secrets are sent, such as a settings file with a server address. A file that another user
//! can change is rejected.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::Error;

/// Reads up to `limit` bytes from the start of a regular file that only the current user or root can change. Returns
/// `None` if it does not exist.
///
/// Links are followed. The file, its folder, and the folder of the link must belong to the current user or to root, and
/// neither the group nor others may be able to write to them. The open file is checked, not its path, so that the file
/// cannot be replaced after the check. On systems other than Unix, owners and modes are not checked.
///
/// # Errors
///
/// [`Error::is_open_to_others`]: another user can change the file or the folder in [`Error::path`].
/// [`Error::is_not_regular`]: `path` is not a regular file. Any other error: the file cannot be read.
pub fn read(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, Error> {
    let failed = |error| Error::io("read", path, error);
    let file = match open(path) {
        // A link whose target does not exist is an error.
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => return Ok(None),
        file => file.map_err(failed)?,
    };
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(Error::not_regular(path, about.file_type()));
    }
    check(path, &about)?;
    let target = path.canonicalize().map_err(failed)?;
    for file in [path, &target] {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        check(folder, &fs::metadata(folder).map_err(failed)?)?;
    }
    let mut bytes = Vec::new();
    file.take(limit as u64).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// Opens a file without blocking: opening a FIFO would otherwise wait for its writer.
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
fn check(path: &Path, about: &fs::Metadata) -> Result<(), Error> {
    use crate::owner::{Owners, is_open_to_others};

    if is_open_to_others(about, Owners::UserAndRoot) { Err(Error::open_to_others(path)) } else { Ok(()) }
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "owners are checked only on Unix")]
fn check(_path: &Path, _about: &fs::Metadata) -> Result<(), Error> {
    Ok(())
}
