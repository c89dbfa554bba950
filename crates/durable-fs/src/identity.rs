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
/// Equal identities show that a file was neither replaced nor changed between two observations. Different identities do
/// not prove a replacement or a change, because some file systems change inode numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device_and_inode: (u64, u64),
    size_and_modified: (u64, i64, i64),
    links: u64,
}

impl Identity {
    #[cfg(unix)]
    fn of(metadata: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;

        Self {
            device_and_inode: (metadata.dev(), metadata.ino()),
            size_and_modified: (metadata.size(), metadata.mtime(), metadata.mtime_nsec()),
            links: metadata.nlink(),
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
            file.metadata().map(|metadata| Self::of(&metadata))
        }
        #[cfg(windows)]
        {
            let metadata = winapi_util::file::information(file)?;
            let modified = metadata.last_write_time().unwrap_or_default().cast_signed();
            Ok(Self {
                device_and_inode: (metadata.volume_serial_number(), metadata.file_index()),
                size_and_modified: (metadata.file_size(), modified, 0),
                links: metadata.number_of_links(),
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
            Ok(metadata) => Ok(metadata.is_file().then(|| Self::of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
        // On Windows, only an open file has an identity.
        #[cfg(windows)]
        match Self::open(path) {
            Ok(opened) => Ok(opened.map(|(_, identity)| identity)),
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

    /// Returns true if both identities have the same device and inode, even if the content of the file has changed.
    pub fn is_same_file(&self, other: &Self) -> bool {
        self.device_and_inode == other.device_and_inode
    }

    /// Returns true if the file has no other hard links.
    pub fn has_one_name(&self) -> bool {
        self.links == 1
    }
}
