//! A local file that must not change while it is uploaded.

use std::fs::{self, File, FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use durable_fs::positioned;
use tokio::task::spawn_blocking;

use super::error::Kind;
use crate::{Crc32c, UploadError};

/// The size of read buffers, in bytes. It is small enough for the processor caches.
pub(super) const READ_BUFFER_BYTES: usize = 256 * 1024;

/// The properties of a file that show a change of its content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct FileStamp {
    pub(super) bytes: u64,
    pub(super) modified: Option<SystemTime>,
    /// Device and inode number, where supported.
    identity: Option<(u64, u64)>,
}

impl FileStamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let identity =
            Some((std::os::unix::fs::MetadataExt::dev(metadata), std::os::unix::fs::MetadataExt::ino(metadata)));
        #[cfg(not(unix))]
        let identity = None;
        Self { bytes: metadata.len(), modified: metadata.modified().ok(), identity }
    }
}

/// A regular file, with its properties at the start of the upload.
#[derive(Clone)]
pub(super) struct LocalFile {
    path: PathBuf,
    stamp: FileStamp,
}

impl LocalFile {
    /// Reads the properties of a file. Fails if it is not a regular file. It is not opened, because opening a pipe
    /// could block forever.
    pub(super) async fn examine(path: &Path) -> Result<Self, UploadError> {
        let path = path.to_owned();
        blocking(move || {
            let metadata = fs::symlink_metadata(&path).map_err(UploadError::read)?;
            check_kind(metadata.file_type())?;
            Ok(Self { path, stamp: FileStamp::of(&metadata) })
        })
        .await
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn stamp(&self) -> FileStamp {
        self.stamp
    }

    pub(super) fn bytes(&self) -> u64 {
        self.stamp.bytes
    }

    /// Opens the file. Fails if it was changed or replaced after [`examine`](Self::examine).
    pub(super) async fn open(&self) -> Result<OpenFile, UploadError> {
        let local = self.clone();
        blocking(move || {
            check_kind(fs::symlink_metadata(&local.path).map_err(UploadError::read)?.file_type())?;
            let file = File::open(&local.path).map_err(UploadError::read)?;
            let open_file = OpenFile { file: Arc::new(file), local };
            open_file.check_unchanged()?;
            Ok(open_file)
        })
        .await
    }
}

/// An open [`LocalFile`]. Clones share the file handle.
#[derive(Clone)]
pub(super) struct OpenFile {
    file: Arc<File>,
    local: LocalFile,
}

impl OpenFile {
    /// Returns the file with its properties at the start of the upload.
    pub(super) fn local(&self) -> &LocalFile {
        &self.local
    }

    pub(super) fn bytes(&self) -> u64 {
        self.local.bytes()
    }

    /// Fills `block` with the bytes at `offset`. Fails if the file is shorter. Blocks the calling thread.
    pub(super) fn read(&self, block: &mut [u8], offset: u64) -> Result<(), UploadError> {
        let mut filled = 0;
        while filled < block.len() {
            let read = positioned::read_at(&self.file, &self.local.path, &mut block[filled..], offset + filled as u64);
            match read.map_err(UploadError::read)? {
                0 => return Err(Kind::Changed.into()),
                length => filled += length,
            }
        }
        Ok(())
    }

    /// Returns an error if the file has changed since the start of the upload. Blocks the calling thread.
    pub(super) fn check_unchanged(&self) -> Result<(), UploadError> {
        let current = FileStamp::of(&self.file.metadata().map_err(UploadError::read)?);
        if current == self.local.stamp { Ok(()) } else { Err(Kind::Changed.into()) }
    }

    /// Computes the checksum of the whole file.
    pub(super) async fn checksum(&self) -> Result<Crc32c, UploadError> {
        let open_file = self.clone();
        blocking(move || {
            let (mut block, mut crc32c, mut offset) = (vec![0; READ_BUFFER_BYTES], Crc32c::default(), 0);
            while offset < open_file.bytes() {
                let length = usize::try_from(open_file.bytes() - offset).unwrap_or(usize::MAX).min(READ_BUFFER_BYTES);
                open_file.read(&mut block[..length], offset)?;
                crc32c = crc32c.append(&block[..length]);
                offset += length as u64;
            }
            open_file.check_unchanged()?;
            Ok(crc32c)
        })
        .await
    }
}

fn check_kind(kind: FileType) -> Result<(), UploadError> {
    let description = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a folder: name the files in it"
    } else if kind.is_symlink() {
        "a symbolic link: name its target"
    } else {
        "a pipe, a socket or a device: name a regular file"
    };
    Err(Kind::NotAFile(description).into())
}

/// Runs `work` on a thread for blocking calls.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UploadError> + Send + 'static,
) -> Result<T, UploadError> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(UploadError::read(io::Error::other(error))))
}
