//! A local file, and its bytes as they are sent.

use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::task::spawn_blocking;

use super::error::Kind;
use super::progress::FileProgress;
use crate::{Crc32c, UploadError};

/// The read buffer size, small enough for the processor caches.
const BLOCK: usize = 256 * 1024;

/// A file to upload.
#[derive(Clone, Debug)]
pub struct UploadFile {
    path: PathBuf,
    key: String,
    content_type: String,
    crc32c: Option<Crc32c>,
}

impl UploadFile {
    /// Creates an upload of the file at `path` as the object `key`.
    pub fn new(path: impl Into<PathBuf>, key: impl Into<String>) -> Self {
        let content_type = "application/octet-stream".to_owned();
        Self { path: path.into(), key: key.into(), content_type, crc32c: None }
    }

    /// Sets the media type (RFC 6838), `application/octet-stream` by default.
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// Sets the required checksum, so that the file is not read to compute it.
    pub fn with_crc32c(mut self, crc32c: Crc32c) -> Self {
        self.crc32c = Some(crc32c);
        self
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the key of the object.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the media type.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Returns the required checksum, if set.
    pub fn crc32c(&self) -> Option<Crc32c> {
        self.crc32c
    }
}

/// The properties that identify an unchanged file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    /// Device and inode number, where supported.
    identity: Option<(u64, u64)>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let identity =
            Some((std::os::unix::fs::MetadataExt::dev(metadata), std::os::unix::fs::MetadataExt::ino(metadata)));
        #[cfg(not(unix))]
        let identity = None;
        Self { bytes: metadata.len(), modified: metadata.modified().ok(), identity }
    }
}

/// A regular file with the properties found when it was first examined.
pub(super) struct LocalFile {
    path: PathBuf,
    stamp: Stamp,
}

impl LocalFile {
    /// Examines a file. Irregular files are not opened: reading a pipe could block forever.
    pub(super) async fn open(path: &Path) -> Result<Self, UploadError> {
        let path = path.to_owned();
        blocking(move || {
            let metadata = fs::symlink_metadata(&path).map_err(UploadError::read)?;
            check_kind(metadata.file_type())?;
            Ok(Self { path, stamp: Stamp::of(&metadata) })
        })
        .await
    }

    pub(super) fn bytes(&self) -> u64 {
        self.stamp.bytes
    }

    /// Computes the checksum of the whole file.
    pub(super) async fn checksum(&mut self) -> Result<Crc32c, UploadError> {
        let (path, stamp) = (self.path.clone(), self.stamp);
        blocking(move || {
            let mut file = open(&path, stamp)?;
            let (mut block, mut crc) = (vec![0; BLOCK], Crc32c::default());
            loop {
                match file.read(&mut block).map_err(UploadError::read)? {
                    0 => break,
                    length => crc = crc.append(&block[..length]),
                }
            }
            check_unchanged(&file, stamp)?;
            Ok(crc)
        })
        .await
    }
}

fn check_kind(kind: FileType) -> Result<(), UploadError> {
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a folder: name the files in it"
    } else if kind.is_symlink() {
        "a symbolic link: name its target"
    } else {
        "a pipe, a socket or a device: name a regular file"
    };
    Err(Kind::NotAFile(what).into())
}

/// Opens the examined file, and rejects a replacement.
fn open(path: &Path, stamp: Stamp) -> Result<File, UploadError> {
    check_kind(fs::symlink_metadata(path).map_err(UploadError::read)?.file_type())?;
    let file = File::open(path).map_err(UploadError::read)?;
    check_unchanged(&file, stamp)?;
    Ok(file)
}

fn check_unchanged(file: &File, stamp: Stamp) -> Result<(), UploadError> {
    let now = Stamp::of(&file.metadata().map_err(UploadError::read)?);
    if now == stamp { Ok(()) } else { Err(Kind::Changed.into()) }
}

/// The error that occurred while the file was sent, if any.
#[derive(Clone, Default)]
pub(super) struct SendFailure(Arc<Mutex<Option<UploadError>>>);

impl SendFailure {
    pub(super) fn take(&self) -> Option<UploadError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: UploadError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// The bytes of a file as they are sent. The last chunk is sent only if the file has its stated checksum and is
/// unchanged.
pub(super) struct Chunks {
    file: File,
    stamp: Stamp,
    expected: Crc32c,
    crc32c: Crc32c,
    left: u64,
    failure: SendFailure,
    progress: Arc<FileProgress>,
    attempt: u64,
}

impl Chunks {
    pub(super) async fn of(
        local: &LocalFile,
        expected: Crc32c,
        progress: Arc<FileProgress>,
    ) -> Result<Self, UploadError> {
        let (path, stamp) = (local.path.clone(), local.stamp);
        let file = blocking(move || open(&path, stamp)).await?;
        // Without a chunk, the checksum would not be verified.
        if stamp.bytes == 0 && expected != Crc32c::default() {
            return Err(Kind::Changed.into());
        }
        let (crc32c, left, failure) = (Crc32c::default(), stamp.bytes, SendFailure::default());
        let attempt = progress.begin(stamp.bytes);
        Ok(Self { file, stamp, expected, crc32c, left, failure, progress, attempt })
    }

    pub(super) fn failure(&self) -> SendFailure {
        self.failure.clone()
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::try_unfold(self, async |pieces| {
            if pieces.left == 0 {
                return Ok(None);
            }
            let failure = pieces.failure();
            // The client gets a generic error; the cause is stored.
            let stopped = |error| {
                failure.set(error);
                io::Error::other("the file cannot be sent")
            };
            blocking(move || pieces.next()).await.map(Some).map_err(stopped)
        })
    }

    /// Returns the next chunk. Blocks.
    fn next(mut self) -> Result<(Bytes, Self), UploadError> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(BLOCK);
        let mut block = vec![0; length];
        self.file.read_exact(&mut block).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Kind::Changed.into(),
            _ => UploadError::read(error),
        })?;
        self.crc32c = self.crc32c.append(&block);
        self.left -= length as u64;
        if self.left == 0 {
            check_unchanged(&self.file, self.stamp)?;
            if self.crc32c != self.expected {
                return Err(Kind::Changed.into());
            }
        }
        self.progress.sent(self.attempt, length as u64);
        Ok((block.into(), self))
    }
}

/// Runs blocking `work` on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UploadError> + Send + 'static,
) -> Result<T, UploadError> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(UploadError::read(io::Error::other(error))))
}
