//! A file on this machine, and its bytes as they leave.

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

/// Files are read in pieces of this size, which the processor caches hold.
const BLOCK: usize = 256 * 1024;

/// A file that is to be uploaded.
#[derive(Clone, Debug)]
pub struct UploadFile {
    path: PathBuf,
    key: String,
    content_type: String,
    crc32c: Option<Crc32c>,
}

impl UploadFile {
    /// The file at `path`, which is to be the object `key`.
    pub fn new(path: impl Into<PathBuf>, key: impl Into<String>) -> Self {
        let content_type = "application/octet-stream".to_owned();
        Self { path: path.into(), key: key.into(), content_type, crc32c: None }
    }

    /// What it is (RFC 6838); `application/octet-stream` unless something is said.
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// The checksum that it must have, so that it is not read once more to compute it.
    pub fn with_crc32c(mut self, crc32c: Crc32c) -> Self {
        self.crc32c = Some(crc32c);
        self
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the object.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What it is.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The checksum that was given.
    pub fn crc32c(&self) -> Option<Crc32c> {
        self.crc32c
    }
}

/// By what a file is known to be the same, and unchanged.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    /// Device and number of the file, where there are such.
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

/// A regular file, as it was when it was looked at first.
pub(super) struct LocalFile {
    path: PathBuf,
    stamp: Stamp,
}

impl LocalFile {
    /// Looks at a file. What is no regular file is not opened: a pipe would never end.
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

    /// The checksum of all of it.
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
        "a symbolic link: name the file that it leads to"
    } else {
        "a pipe, a socket or a device: name a regular file"
    };
    Err(Kind::NotAFile(what).into())
}

/// Opens the file that was looked at, and no other that took its place.
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

/// What was wrong with the file while it was sent.
#[derive(Clone, Default)]
pub(super) struct Verdict(Arc<Mutex<Option<UploadError>>>);

impl Verdict {
    pub(super) fn take(&self) -> Option<UploadError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: UploadError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// The bytes of a file as they leave. The last of them leave only if the file is what it is said to be.
pub(super) struct Pieces {
    file: File,
    stamp: Stamp,
    expected: Crc32c,
    crc32c: Crc32c,
    left: u64,
    verdict: Verdict,
    progress: Arc<FileProgress>,
    attempt: u64,
}

impl Pieces {
    pub(super) async fn of(
        local: &LocalFile,
        expected: Crc32c,
        progress: Arc<FileProgress>,
    ) -> Result<Self, UploadError> {
        let (path, stamp) = (local.path.clone(), local.stamp);
        let file = blocking(move || open(&path, stamp)).await?;
        // Without a piece, nothing would be checked.
        if stamp.bytes == 0 && expected != Crc32c::default() {
            return Err(Kind::Changed.into());
        }
        let (crc32c, left, verdict) = (Crc32c::default(), stamp.bytes, Verdict::default());
        let attempt = progress.begin(stamp.bytes);
        Ok(Self { file, stamp, expected, crc32c, left, verdict, progress, attempt })
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::try_unfold(self, async |pieces| {
            if pieces.left == 0 {
                return Ok(None);
            }
            let verdict = pieces.verdict();
            // Whoever sends is told that it ends here; the reason is kept.
            let stopped = |error| {
                verdict.set(error);
                io::Error::other("the file cannot be sent")
            };
            blocking(move || pieces.next()).await.map(Some).map_err(stopped)
        })
    }

    /// The next piece. It blocks.
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

/// Runs what blocks where it does not hold up others.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UploadError> + Send + 'static,
) -> Result<T, UploadError> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(UploadError::read(io::Error::other(error))))
}
