use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use auth_http::HttpError;

use crate::Crc32c;

/// Why a file is not there. What was under its name before still is.
#[derive(Debug, thiserror::Error)]
#[error("{} was not downloaded: {kind}{}", file.display(), tried(*attempts))]
pub struct DownloadError {
    file: PathBuf,
    kind: Kind,
    /// How often it was tried, if it was worth trying again.
    attempts: Option<u32>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

fn tried(attempts: Option<u32>) -> String {
    attempts.map(|attempts| format!(" (attempt {attempts} in a row)")).unwrap_or_default()
}

fn kept(aside: Option<&Path>) -> String {
    aside.map(|path| format!("; they are kept as {}", path.display())).unwrap_or_default()
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("its URL could not be had")]
    Resolve,
    #[error("the storage did not answer, or broke off")]
    Http,
    #[error("the storage answered {0}")]
    Status(u16),
    #[error("the storage refuses its URL ({0}), and a new one too")]
    Refused(u16),
    #[error("the storage sent no bytes, or hardly any, for too long")]
    Stalled,
    #[error("the answer of the storage cannot be used: {0}")]
    Malformed(&'static str),
    #[error("it is replaced in the storage again and again while it is fetched: try again later")]
    Changed,
    #[error("{actual} bytes came instead of {expected}")]
    Size { expected: u64, actual: u64 },
    #[error("the bytes that came, twice, have the CRC32C {actual} instead of {expected}{}", kept(aside.as_deref()))]
    Checksum { expected: Crc32c, actual: Crc32c, aside: Option<PathBuf> },
    #[error("it needs {needed} bytes on the disk, which has room for {room}: make room and try again")]
    NoRoom { needed: u64, room: u64 },
    #[error("another process is downloading it: wait for it")]
    Locked,
    #[error("the disk is full: make room and try again")]
    DiskFull,
    #[error("it could not be written")]
    Write,
}

impl DownloadError {
    fn new(file: &Path, kind: Kind, source: Option<Box<dyn Error + Send + Sync>>) -> Self {
        Self { file: file.to_owned(), kind, attempts: None, source }
    }

    /// The same after so many attempts.
    pub(crate) fn after(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    pub(crate) fn resolve(file: &Path, source: Box<dyn Error + Send + Sync>) -> Self {
        Self::new(file, Kind::Resolve, Some(source))
    }

    pub(crate) fn http(file: &Path, source: HttpError) -> Self {
        Self::new(file, Kind::Http, Some(source.into()))
    }

    pub(crate) fn answered(file: &Path, status: u16) -> Self {
        Self::new(file, Kind::Status(status), None)
    }

    pub(crate) fn size(file: &Path, expected: u64, actual: u64) -> Self {
        Self::new(file, Kind::Size { expected, actual }, None)
    }

    pub(crate) fn refused(file: &Path, status: u16) -> Self {
        Self::new(file, Kind::Refused(status), None)
    }

    pub(crate) fn stalled(file: &Path) -> Self {
        Self::new(file, Kind::Stalled, None)
    }

    pub(crate) fn malformed(file: &Path, what: &'static str) -> Self {
        Self::new(file, Kind::Malformed(what), None)
    }

    pub(crate) fn changed(file: &Path) -> Self {
        Self::new(file, Kind::Changed, None)
    }

    pub(crate) fn checksum(file: &Path, expected: Crc32c, actual: Crc32c) -> Self {
        Self::new(file, Kind::Checksum { expected, actual, aside: None }, None)
    }

    /// What came is kept there.
    pub(crate) fn kept_aside(mut self, path: Option<PathBuf>) -> Self {
        if let Kind::Checksum { aside, .. } = &mut self.kind {
            *aside = path;
        }
        self
    }

    pub(crate) fn no_room(file: &Path, needed: u64, room: u64) -> Self {
        Self::new(file, Kind::NoRoom { needed, room }, None)
    }

    pub(crate) fn locked(file: &Path) -> Self {
        Self::new(file, Kind::Locked, None)
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
        matches!(self.kind, Kind::DiskFull | Kind::NoRoom { .. })
    }

    /// The fault is on this side: the file cannot be read or written here, for want of room or otherwise.
    pub fn is_local(&self) -> bool {
        matches!(self.kind, Kind::DiskFull | Kind::NoRoom { .. } | Kind::Locked | Kind::Write)
    }

    /// Another process is downloading the file.
    pub fn is_locked(&self) -> bool {
        matches!(self.kind, Kind::Locked)
    }

    /// The storage did not send the file, but may later: it was not reached, at fault, silent, or replaced the file.
    pub fn is_transient(&self) -> bool {
        match self.kind {
            Kind::Http | Kind::Stalled | Kind::Malformed(_) | Kind::Changed => true,
            Kind::Status(status) => matches!(status, 408 | 425 | 429 | 500..),
            _ => false,
        }
    }

    /// The status that the storage answered last, if that is what is wrong.
    pub fn status(&self) -> Option<u16> {
        match self.kind {
            Kind::Status(status) | Kind::Refused(status) => Some(status),
            _ => None,
        }
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
    #[error("there is room for {room} bytes, and {needed} are needed: make room and try again")]
    NoRoom { needed: u64, room: u64 },
    #[error("another process is writing into this folder: wait for it, or name another folder")]
    Locked,
    #[error("there is no manifest.jsonl: nothing says what the files should be")]
    NoManifest,
    #[error("line {0} is no entry of a manifest: move the file away to start a new one")]
    Malformed(usize),
}

impl FolderError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let kind = if is_full(&source) { FolderKind::DiskFull } else { FolderKind::Io };
        Self { path: path.to_owned(), kind, source: Some(source.into()) }
    }

    pub(crate) fn locked(path: &Path) -> Self {
        Self { path: path.to_owned(), kind: FolderKind::Locked, source: None }
    }

    pub(crate) fn no_room(path: &Path, needed: u64, room: u64) -> Self {
        Self { path: path.to_owned(), kind: FolderKind::NoRoom { needed, room }, source: None }
    }

    pub(crate) fn no_manifest(path: &Path) -> Self {
        Self { path: path.to_owned(), kind: FolderKind::NoManifest, source: None }
    }

    pub(crate) fn malformed(path: &Path, line: usize, source: serde_json::Error) -> Self {
        Self { path: path.to_owned(), kind: FolderKind::Malformed(line), source: Some(source.into()) }
    }

    /// There is no room in the folder.
    pub fn is_disk_full(&self) -> bool {
        matches!(self.kind, FolderKind::DiskFull | FolderKind::NoRoom { .. })
    }

    /// Nothing says what the files in the folder should be.
    pub fn is_without_manifest(&self) -> bool {
        matches!(self.kind, FolderKind::NoManifest)
    }

    /// Another process has the folder open.
    pub fn is_locked(&self) -> bool {
        matches!(self.kind, FolderKind::Locked)
    }
}
