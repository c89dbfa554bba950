use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use async_trait::async_trait;
use auth_http::{HttpClient, Request, Response, SignedUrl};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use tokio::task::spawn_blocking;

use crate::{Crc32c, DownloadError};

/// Files are read in pieces of this size, which the processor caches hold.
const BLOCK: usize = 256 * 1024;

/// Where a file can be fetched from. Signed URLs are short-lived, so they are made when needed.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync {
    /// A URL that the file can be fetched from now, without credentials.
    ///
    /// # Errors
    ///
    /// There is none: the file is gone, or whoever makes the URLs cannot be asked.
    async fn resolve(&self) -> Result<SignedUrl, Box<dyn Error + Send + Sync>>;
}

const _: Option<&dyn Source> = None;

/// What is stated of a file before it is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    crc32c: Crc32c,
    bytes: Option<u64>,
}

impl Expected {
    /// A file with this checksum.
    pub fn new(crc32c: Crc32c) -> Self {
        Self { crc32c, bytes: None }
    }

    /// The length of the file.
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// The checksum that the file must have.
    pub fn crc32c(&self) -> Crc32c {
        self.crc32c
    }

    /// The length that the file must have, if it is known.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Whether a file is already there as it must be: all of it is read. It blocks.
    fn is_met_by(&self, path: &Path) -> io::Result<Option<u64>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        if self.bytes.is_some_and(|bytes| bytes != length) {
            return Ok(None);
        }
        Ok((checksum(&mut file)? == self.crc32c).then_some(length))
    }
}

fn checksum(file: &mut impl io::Read) -> io::Result<Crc32c> {
    let mut block = vec![0; BLOCK];
    let mut crc = Crc32c::default();
    loop {
        match file.read(&mut block)? {
            0 => return Ok(crc),
            length => crc = crc.append(&block[..length]),
        }
    }
}

/// How a file came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was fetched and has this many bytes.
    Fetched(u64),
    /// It was there already, as it must be, and has this many bytes.
    AlreadyThere(u64),
}

impl Outcome {
    /// The length of the file.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Fetched(bytes) | Self::AlreadyThere(bytes) => bytes,
        }
    }
}

/// Fetches files, and lets them appear under their names only when they are complete and verified.
#[derive(Clone, Debug)]
pub struct Downloader {
    http: HttpClient,
}

impl Downloader {
    /// Downloads through `http`, which must not decompress: checksums are those of the stored bytes.
    pub fn new(http: HttpClient) -> Self {
        Self { http }
    }

    /// Fetches a file to `target`, unless it is there already. Folders are created as needed;
    /// `received` hears of every piece that comes, with its length in bytes.
    ///
    /// # Errors
    ///
    /// [`DownloadError::is_corrupt`], [`DownloadError::is_disk_full`], or the file could not be
    /// fetched or written. Whatever was under `target` before is still there then.
    pub async fn fetch(
        &self,
        source: &dyn Source,
        expected: Expected,
        target: &Path,
        received: &(dyn Fn(u64) + Sync),
    ) -> Result<Outcome, DownloadError> {
        let failed = |error| DownloadError::io(target, error);
        let path = target.to_owned();
        if let Some(bytes) = blocking(move || expected.is_met_by(&path)).await.map_err(failed)? {
            return Ok(Outcome::AlreadyThere(bytes));
        }
        self.get(source, Some(expected), target, received).await.map(Outcome::Fetched)
    }

    /// Fetches a file of which nothing is stated, in the place of what was under `target`; its length. That it arrived whole
    /// is known by the length that the server states, if it states one, and that it is the right one by nothing.
    ///
    /// # Errors
    ///
    /// Those of [`fetch`](Self::fetch).
    pub async fn fetch_unverified(
        &self,
        source: &dyn Source,
        target: &Path,
        received: &(dyn Fn(u64) + Sync),
    ) -> Result<u64, DownloadError> {
        self.get(source, None, target, received).await
    }

    async fn get(
        &self,
        source: &dyn Source,
        expected: Option<Expected>,
        target: &Path,
        received: &(dyn Fn(u64) + Sync),
    ) -> Result<u64, DownloadError> {
        let failed = |error| DownloadError::io(target, error);
        let url = source.resolve().await.map_err(|error| DownloadError::resolve(target, error))?;
        let request = Request::get(url.expose().clone()).with_header("accept-encoding", "identity");
        let response = self.http.send(request).await.map_err(|error| DownloadError::http(target, error))?;
        if response.status() != 200 {
            return Err(DownloadError::status(target, response.status()));
        }
        let path = target.to_owned();
        let part = blocking(move || create_part(&path)).await.map_err(failed)?;
        let bytes = fill(&part, response, expected, target, received).await?;
        let path = target.to_owned();
        blocking(move || publish(part, &path)).await.map_err(failed)?;
        Ok(bytes)
    }
}

/// A file beside `target`, with a name of its own, so that two downloads never share one. It is
/// deleted unless it is published.
pub(crate) fn create_part(target: &Path) -> io::Result<NamedTempFile> {
    let folder = folder_of(target);
    fs::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".part");
    // The permissions that any new file gets, not those of a temporary one; the umask takes its share.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// The folder that a file lies in; `.` for a bare name.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes the body of the answer into the file and checks it.
async fn fill(
    part: &NamedTempFile,
    mut response: Response,
    expected: Option<Expected>,
    target: &Path,
    received: &(dyn Fn(u64) + Sync),
) -> Result<u64, DownloadError> {
    let stated_bytes = expected.and_then(|expected| expected.bytes);
    let failed = |error| DownloadError::io(target, error);
    let mut file = tokio::fs::File::from_std(part.as_file().try_clone().map_err(failed)?);
    let (mut bytes, mut crc) = (0, Crc32c::default());
    while let Some(piece) = response.chunk().await.map_err(|error| DownloadError::http(target, error))? {
        bytes += piece.len() as u64;
        // Not a byte more than was stated goes to the disk, whatever the server sends.
        if let Some(stated) = stated_bytes.filter(|stated| bytes > *stated) {
            return Err(DownloadError::size(target, stated, bytes));
        }
        file.write_all(&piece).await.map_err(failed)?;
        crc = crc.append(&piece);
        received(piece.len() as u64);
    }
    file.flush().await.map_err(failed)?;
    if let Some(stated) = stated_bytes.filter(|stated| bytes != *stated) {
        return Err(DownloadError::size(target, stated, bytes));
    }
    if let Some(expected) = expected.filter(|expected| crc != expected.crc32c) {
        return Err(DownloadError::checksum(target, expected.crc32c, crc));
    }
    Ok(bytes)
}

/// Gives a complete file its name, in such an order that not even a power cut leaves half of it there.
pub(crate) fn publish(part: NamedTempFile, target: &Path) -> io::Result<()> {
    part.as_file().sync_all()?;
    part.persist(target).map_err(|error| error.error)?;
    // Elsewhere a folder cannot be opened as a file.
    #[cfg(unix)]
    File::open(folder_of(target))?.sync_all()?;
    Ok(())
}

/// Runs what blocks where it does not hold up others.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
