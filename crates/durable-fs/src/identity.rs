//! Detection of replaced and changed files.

#[cfg(unix)]
use std::fs;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use crate::{Error, regular};

/// The identity of a file at a point in time: device, inode, number of links, length and modification time. On Windows,
/// volume and file index replace device and inode.
///
/// Equal identities show that two observations are of the same, unchanged file. Different identities do not prove that
/// the file was changed or replaced, because some file systems change inode numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device_and_inode: (u64, u64),
    size_and_modified: (u64, i64, i64),
    links: u64,
}

impl Identity {
    #[cfg(unix)]
    fn of(about: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;

        Self {
            device_and_inode: (about.dev(), about.ino()),
            size_and_modified: (about.size(), about.mtime(), about.mtime_nsec()),
            links: about.nlink(),
        }
    }

    /// Returns the identity of an open file.
    ///
    /// # Errors
    ///
    /// The file cannot be examined.
    pub fn of_file(file: &File) -> io::Result<Self> {
        #[cfg(unix)]
        {
            file.metadata().map(|about| Self::of(&about))
        }
        #[cfg(windows)]
        {
            let about = winapi_util::file::information(file)?;
            let modified = about.last_write_time().unwrap_or_default().cast_signed();
            Ok(Self {
                device_and_inode: (about.volume_serial_number(), about.file_index()),
                size_and_modified: (about.file_size(), modified, 0),
                links: about.number_of_links(),
            })
        }
    }

    /// Returns the identity of the regular file at a path, or `None` if it does not exist or is not a regular file.
    ///
    /// # Errors
    ///
    /// The path cannot be examined.
    pub fn of_path(path: &Path) -> io::Result<Option<Self>> {
        #[cfg(unix)]
        match fs::symlink_metadata(path) {
            Ok(about) => Ok(about.is_file().then(|| Self::of(&about))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
        // Only an open file has an identity.
        #[cfg(windows)]
        match Self::open(path) {
            Ok(found) => Ok(found.map(|(_, identity)| identity)),
            Err(error) if error.is_not_regular() => Ok(None),
            Err(error) => Err(io::Error::new(error.kind(), error)),
        }
    }

    /// Opens a regular file without following a link. Returns it with its identity, or `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_regular`], or the file cannot be opened.
    pub fn open(path: &Path) -> Result<Option<(File, Self)>, Error> {
        let file = match regular::open(OpenOptions::new().read(true), path, "read") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let identity = Self::of_file(&file).map_err(|error| Error::io("read", path, error))?;
        Ok(Some((file, identity)))
    }

    /// Returns true if both identities have the same device and inode, also if the content of the file changed.
    pub fn is_same_file(&self, other: &Self) -> bool {
        self.device_and_inode == other.device_and_inode
    }

    /// Returns true if the file has no other hard links.
    pub fn has_one_name(&self) -> bool {
        self.links == 1
    }
}
