use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use auth_http::HttpError;

use crate::Crc32c;

/// Why a file is not there. What was under its name before still is.
#[derive(Debug, thiserror::Error)]
#[error("{} was not downloaded: {kind}", file.display())]
pub struct DownloadError {
    file: PathBuf,
    kind: Kind,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("its URL could not be had")]
    Resolve,
    #[error("the storage did not answer, or broke off")]
    Http,
    #[error("the storage answered {0}")]
    Status(u16),
    #[error("{actual} bytes came instead of {expected}")]
    Size { expected: u64, actual: u64 },
    #[error("the bytes that came have the CRC32C {actual} instead of {expected}")]
    Checksum { expected: Crc32c, actual: Crc32c },
    #[error("the disk is full: make room and try again")]
    DiskFull,
    #[error("it could not be written")]
    Write,
}

impl DownloadError {
    fn new(file: &Path, kind: Kind, source: Option<Box<dyn Error + Send + Sync>>) -> Self {
        Self { file: file.to_owned(), kind, source }
    }

    pub(crate) fn resolve(file: &Path, source: Box<dyn Error + Send + Sync>) -> Self {
        Self::new(file, Kind::Resolve, Some(source))
    }

    pub(crate) fn http(file: &Path, source: HttpError) -> Self {
        Self::new(file, Kind::Http, Some(source.into()))
    }

    pub(crate) fn status(file: &Path, status: u16) -> Self {
        Self::new(file, Kind::Status(status), None)
    }

    pub(crate) fn size(file: &Path, expected: u64, actual: u64) -> Self {
        Self::new(file, Kind::Size { expected, actual }, None)
    }

    pub(crate) fn checksum(file: &Path, expected: Crc32c, actual: Crc32c) -> Self {
        Self::new(file, Kind::Checksum { expected, actual }, None)
    }

    pub(crate) fn io(file: &Path, source: io::Error) -> Self {
        Self::new(file, if is_full(&source) { Kind::DiskFull } else { Kind::Write }, Some(source.into()))
    }

    /// The file that is not there.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// There is no room for the file.
    pub fn is_disk_full(&self) -> bool {
        matches!(self.kind, Kind::DiskFull)
    }

    /// The fault is on this side: the file cannot be read or written here, for want of room or otherwise.
    pub fn is_local(&self) -> bool {
        matches!(self.kind, Kind::DiskFull | Kind::Write)
    }

    /// What came is not what was stated.
    pub fn is_corrupt(&self) -> bool {
        matches!(self.kind, Kind::Size { .. } | Kind::Checksum { .. })
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Why a folder cannot hold results. It names the folder or the file in it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", path.display())]
pub struct FolderError {
    path: PathBuf,
    kind: FolderKind,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Debug, thiserror::Error)]
enum FolderKind {
    #[error("cannot be read or written")]
    Io,
    #[error("the disk is full: make room and try again")]
    DiskFull,
    #[error("another process is writing into this folder: wait for it, or name another folder")]
    Locked,
    #[error("line {0} is no entry of a manifest: move the file away to start a new one")]
    Malformed(usize),
    #[error("the names `{0}` and `{1}` differ only in case, which not every file system keeps apart: rename one")]
    Collision(String, String),
}

impl FolderError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let kind = if is_full(&source) { FolderKind::DiskFull } else { FolderKind::Io };
        Self { path: path.to_owned(), kind, source: Some(source.into()) }
    }

    pub(crate) fn locked(path: &Path) -> Self {
        Self { path: path.to_owned(), kind: FolderKind::Locked, source: None }
    }

    pub(crate) fn malformed(path: &Path, line: usize, source: serde_json::Error) -> Self {
        Self { path: path.to_owned(), kind: FolderKind::Malformed(line), source: Some(source.into()) }
    }

    pub(crate) fn collision(path: &Path, one: &str, other: &str) -> Self {
        Self { path: path.to_owned(), kind: FolderKind::Collision(one.to_owned(), other.to_owned()), source: None }
    }

    /// There is no room in the folder.
    pub fn is_disk_full(&self) -> bool {
        matches!(self.kind, FolderKind::DiskFull)
    }

    /// Another process has the folder open.
    pub fn is_locked(&self) -> bool {
        matches!(self.kind, FolderKind::Locked)
    }
}
