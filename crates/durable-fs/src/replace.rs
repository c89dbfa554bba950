use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};

use crate::faults::{Operation, check};
use crate::{Error, Identity, folder, regular};

/// A file that is replaced atomically, with a temporary file in the same folder.
///
/// Only one writer at a time may use a temporary file. Hold a [`LockFile`](crate::LockFile), or choose a temporary name
/// that no other writer uses. A temporary file left by a killed writer is replaced.
#[derive(Clone, Debug)]
pub struct AtomicFile {
    path: PathBuf,
    temporary: PathBuf,
    mode: u32,
    copies_permissions: bool,
}

/// Allocated space for the next content of an [`AtomicFile`]. Dropping the reservation releases the space.
#[derive(Debug)]
pub struct Reservation {
    target: AtomicFile,
    /// `None` after the temporary file was renamed or deleted.
    file: Option<File>,
}

impl AtomicFile {
    /// Creates a file that only its owner can access (0600). `temporary` must be in the same folder as `path`.
    pub fn new(path: impl Into<PathBuf>, temporary: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), temporary: temporary.into(), mode: 0o600, copies_permissions: false }
    }

    /// Sets the mode (Unix permission bits) with which the file is created [default: 0600]. No effect on systems other
    /// than Unix.
    pub fn with_mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Gives the new file the permissions of the file that it replaces, if there is one.
    pub fn with_former_permissions(mut self) -> Self {
        self.copies_permissions = true;
        self
    }

    /// Replaces the content. After an error, the old content is unchanged.
    ///
    /// # Errors
    ///
    /// [`Error::is_storage_full`]: the disk is full. [`Error::is_not_regular`]: the path exists and is not a regular
    /// file. Any other error: the file cannot be written.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), Error> {
        self.create_temporary()?.commit(bytes)
    }

    /// Replaces the content with the output of `write`, which is buffered. After an error, the old content is
    /// unchanged.
    ///
    /// # Errors
    ///
    /// The errors of [`replace`](Self::replace), and the error of `write`.
    pub fn replace_with(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
        self.create_temporary()?.commit_with(|file| {
            let mut writer = io::BufWriter::with_capacity(64 << 10, file);
            write(&mut writer)?;
            writer.flush()
        })
    }

    /// Allocates `size` bytes for the next content, so that [`Reservation::commit`] with up to `size` bytes does not
    /// fail because of a full disk. File systems that compress or copy on write do not guarantee this.
    ///
    /// # Errors
    ///
    /// The same as [`replace`](Self::replace).
    pub fn reserve(&self, size: u64) -> Result<Reservation, Error> {
        let mut reservation = self.create_temporary()?;
        let allocation = reservation.file().and_then(|file| {
            check_size_limit(size)?;
            allocate(file, size)
        });
        allocation.map_err(|error| Error::io("reserve space in", &self.temporary, error))?;
        Ok(reservation)
    }

    /// Creates an empty temporary file.
    fn create_temporary(&self) -> Result<Reservation, Error> {
        regular::exists(&self.path)?;
        // A killed writer may have left a temporary file.
        regular::remove(&self.temporary)?;
        let file =
            regular::create(OpenOptions::new().write(true).create_new(true), &self.temporary, self.mode, "create")?;
        let reservation = Reservation { target: self.clone(), file: Some(file) };
        if self.copies_permissions
            && let Ok(previous) = std::fs::metadata(&self.path)
        {
            regular::set_permissions(&self.temporary, previous.permissions())?;
        }
        Ok(reservation)
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }
}

impl Reservation {
    /// Replaces the content of the file with `bytes`, which may be shorter or longer than the reservation.
    ///
    /// # Errors
    ///
    /// The errors of [`AtomicFile::replace`], or the folder cannot be synced. If syncing the folder fails, the file may
    /// already have its new content. After any other error, the file has its old content.
    pub fn commit(self, bytes: &[u8]) -> Result<(), Error> {
        self.commit_with(|file| {
            check_size_limit(bytes.len() as u64)?;
            file.rewind()?;
            file.write_all(bytes)?;
            file.set_len(bytes.len() as u64)
        })
    }

    fn commit_with(mut self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), Error> {
        let temporary = self.target.temporary.clone();
        let write_result = self.file().and_then(|file| {
            check(Operation::Write, &temporary)?;
            write(file)?;
            check(Operation::SyncFile, &temporary)?;
            file.sync_all()
        });
        write_result.map_err(|error| Error::io("write", &self.target.temporary, error))?;
        self.check_temporary()?;
        regular::exists(&self.target.path)?;
        regular::rename(&self.target.temporary, &self.target.path)?;
        self.file = None;
        folder::sync(self.target.folder())
    }

    fn file(&mut self) -> io::Result<&mut File> {
        self.file.as_mut().ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Returns an error if another writer has replaced the temporary file, whose content would then be committed
    /// instead.
    fn check_temporary(&self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        let read_error = |error| Error::io("read", &self.target.temporary, error);
        let open_file = Identity::of_file(file).map_err(read_error)?;
        let file_at_path = Identity::of_path(&self.target.temporary).map_err(read_error)?;
        let is_own = file_at_path.is_some_and(|file_at_path| file_at_path.is_same_file(&open_file));
        if is_own { Ok(()) } else { Err(Error::concurrent_change(&self.target.temporary)) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.file.is_some() && self.check_temporary().is_ok() {
            let _ = regular::remove(&self.target.temporary);
        }
    }
}

/// Returns an error if the process may not create files of this size (`RLIMIT_FSIZE`). Without this check, a signal
/// would end the process when it exceeds the limit.
#[cfg_attr(windows, expect(clippy::unnecessary_wraps, reason = "only Unix has this limit"))]
fn check_size_limit(size: u64) -> io::Result<()> {
    #[cfg(unix)]
    if rustix::process::getrlimit(rustix::process::Resource::Fsize).current.is_some_and(|limit| size > limit) {
        return Err(rustix::io::Errno::FBIG.into());
    }
    let _ = size;
    Ok(())
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn allocate(file: &mut File, size: u64) -> io::Result<()> {
    use rustix::io::Errno;

    match rustix::fs::fallocate(&*file, rustix::fs::FallocateFlags::empty(), 0, size) {
        Err(Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => write_zeros(file, size),
        result => Ok(result?),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn allocate(file: &mut File, size: u64) -> io::Result<()> {
    write_zeros(file, size)
}

/// Writes zeros and syncs them, because some file systems allocate blocks only when data are synced.
fn write_zeros(file: &mut File, size: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), size), file)?;
    file.sync_all()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn writing_zeros_allocates_blocks() {
        use std::os::unix::fs::MetadataExt;

        let mut file = tempfile::tempfile().unwrap();
        write_zeros(&mut file, 64 * 1024).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), 64 * 1024);
        assert!(metadata.blocks() * 512 >= 64 * 1024, "{} blocks", metadata.blocks());
    }
}
