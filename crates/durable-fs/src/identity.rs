//! Detection of replaced and changed files.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

use crate::{Error, regular};

/// The identity of a file at a point in time: device, inode, number of links, length and modification time.
///
/// Equal identities show that a name refers to the same, unchanged file. Different ones prove nothing: some file
/// systems change inode numbers. Always equal on systems other than Unix, where an open file keeps its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    #[cfg(unix)]
    numbers: (u64, u64),
    #[cfg(unix)]
    content: (u64, i64, i64),
    #[cfg(unix)]
    links: u64,
}

impl Identity {
    fn of(about: &Metadata) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            Self {
                numbers: (about.dev(), about.ino()),
                content: (about.size(), about.mtime(), about.mtime_nsec()),
                links: about.nlink(),
            }
        }
        #[cfg(not(unix))]
        {
            let _ = about;
            Self {}
        }
    }

    /// Returns the identity of an open file.
    ///
    /// # Errors
    ///
    /// The file cannot be examined.
    pub fn of_file(file: &File) -> io::Result<Self> {
        file.metadata().map(|about| Self::of(&about))
    }

    /// Returns the identity of the regular file at a path, or `None` if it does not exist or is not a regular file.
    ///
    /// # Errors
    ///
    /// The path cannot be examined.
    pub fn of_path(path: &Path) -> io::Result<Option<Self>> {
        match fs::symlink_metadata(path) {
            Ok(about) => Ok(about.is_file().then(|| Self::of(&about))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
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

    /// Returns true if both are the same file, regardless of its content.
    pub fn is_same_file(&self, other: &Self) -> bool {
        #[cfg(unix)]
        {
            self.numbers == other.numbers
        }
        #[cfg(not(unix))]
        {
            let _ = other;
            true
        }
    }

    /// Returns true if the file has only one name.
    pub fn has_one_name(&self) -> bool {
        #[cfg(unix)]
        {
            self.links == 1
        }
        #[cfg(not(unix))]
        {
            true
        }
    }
}
