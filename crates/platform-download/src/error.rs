use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_http::HttpError;
use auth_http::retry::{GaveUp, is_transient_status};

use crate::checksum::Crc32c;
use crate::retry::{Retryability, Retryable, in_full, suffix};

/// An error of a download. An existing file under its name is unchanged.
#[derive(Debug, thiserror::Error)]
#[error("{} was not downloaded: {kind}{}", file.display(), suffix(gave_up.as_ref()))]
pub struct DownloadError {
    file: PathBuf,
    kind: Kind,
    /// The reason why the download was not retried, or no longer.
    gave_up: Option<GaveUp>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

fn kept(aside: Option<&Path>) -> String {
    aside.map(|path| format!("; they are kept as {}", path.display())).unwrap_or_default()
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("cannot obtain its URL")]
    Resolve { is_transient: bool },
    #[error("the storage did not respond, or the response was incomplete")]
    Http { is_transient: bool },
    #[error("the storage responded with {status}")]
    Status { status: u16, retry_after: Option<Duration> },
    #[error("the storage refused its URL ({0}), and a new one too")]
    Refused(u16),
    #[error("the storage sent too little data for too long")]
    Stalled,
    #[error("unusable response of the storage: {0}")]
    Malformed(&'static str),
    #[error("it was replaced repeatedly in the storage during the download: try again later")]
    Changed,
    #[error("received {actual} bytes instead of {expected}")]
    Size { expected: u64, actual: u64 },
    #[error("two downloads have the CRC32C {actual} instead of {expected}{}", kept(aside.as_deref()))]
    Checksum { expected: Crc32c, actual: Crc32c, aside: Option<PathBuf> },
    #[error("not enough disk space: {needed} bytes are needed and {free} are free")]
    NoSpace { needed: u64, free: u64 },
    #[error("another process is downloading it: wait for it")]
    Locked,
    #[error("the disk is full: free some space and try again")]
    DiskFull,
    #[error("it could not be written")]
    Write,
    #[error("'{}' cannot be read and is kept", path.display())]
    Read { path: PathBuf },
    #[error("another process replaces it during the download")]
    Interfered,
    #[error(
        "the storage sends it with the content encoding '{0}', although none was requested, and states no checksum"
    )]
    Encoded(String),
}

impl DownloadError {
    fn new(file: &Path, kind: Kind, source: Option<Box<dyn Error + Send + Sync>>) -> Self {
        Self { file: file.to_owned(), kind, gave_up: None, source }
    }

    pub(crate) fn resolve(file: &Path, source: Box<dyn Error + Send + Sync>) -> Self {
        let unavailable: Option<&SourceUnavailable> = source.downcast_ref();
        let (is_transient, gave_up) = (unavailable.is_some(), unavailable.and_then(|error| error.gave_up().cloned()));
        Self { gave_up, ..Self::new(file, Kind::Resolve { is_transient }, Some(source)) }
    }

    pub(crate) fn http(file: &Path, source: HttpError) -> Self {
        Self::new(file, Kind::Http { is_transient: source.is_transient() }, Some(source.into()))
    }

    pub(crate) fn answered(file: &Path, status: u16, retry_after: Option<Duration>) -> Self {
        Self::new(file, Kind::Status { status, retry_after }, None)
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

    /// Sets the path of the rejected content.
    pub(crate) fn kept_aside(mut self, path: Option<PathBuf>) -> Self {
        if let Kind::Checksum { aside, .. } = &mut self.kind {
            *aside = path;
        }
        self
    }

    pub(crate) fn no_space(file: &Path, needed: u64, free: u64) -> Self {
        Self::new(file, Kind::NoSpace { needed, free }, None)
    }

    pub(crate) fn locked(file: &Path) -> Self {
        Self::new(file, Kind::Locked, None)
    }

    pub(crate) fn io(file: &Path, source: io::Error) -> Self {
        Self::new(file, if is_full(&source) { Kind::DiskFull } else { Kind::Write }, Some(source.into()))
    }

    /// Creates the error of a file `path` that cannot be read. Nothing was deleted.
    pub(crate) fn read(file: &Path, path: &Path, source: io::Error) -> Self {
        Self::new(file, Kind::Read { path: path.to_owned() }, Some(source.into()))
    }

    pub(crate) fn interfered(file: &Path) -> Self {
        Self::new(file, Kind::Interfered, None)
    }

    pub(crate) fn encoded(file: &Path, encoding: &str) -> Self {
        Self::new(file, Kind::Encoded(encoding.to_owned()), None)
    }

    /// Sets the file of an error without one.
    pub(crate) fn about(self, file: &Path) -> Self {
        Self { file: file.to_owned(), ..self }
    }

    /// Returns the file that was not downloaded.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns true if the disk is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self.kind, Kind::DiskFull | Kind::NoSpace { .. })
    }

    /// Returns true if the cause is local: the file cannot be read or written, because the disk is full, for example.
    pub fn is_local(&self) -> bool {
        let is_file = matches!(self.kind, Kind::Locked | Kind::Write | Kind::Read { .. } | Kind::Interfered);
        is_file || self.is_disk_full()
    }

    /// Returns true if a local file cannot be read. Downloaded content is kept.
    pub fn is_unreadable(&self) -> bool {
        matches!(self.kind, Kind::Read { .. })
    }

    /// Returns true if another process is downloading the file.
    pub fn is_locked(&self) -> bool {
        matches!(self.kind, Kind::Locked)
    }

    /// Returns true if a later download may succeed: the storage or the URL source was unreachable, overloaded or
    /// unresponsive, or the object was replaced during the download.
    pub fn is_transient(&self) -> bool {
        match self.kind {
            Kind::Stalled | Kind::Malformed(_) | Kind::Changed => true,
            Kind::Http { is_transient } | Kind::Resolve { is_transient } => is_transient,
            Kind::Status { status, .. } => is_transient_status(status),
            _ => false,
        }
    }

    /// Returns true if only the time limit of this file is exceeded: others can be downloaded first, and this one
    /// later.
    pub fn is_single(&self) -> bool {
        self.is_transient() && self.gave_up.as_ref().is_some_and(GaveUp::is_single)
    }

    /// Returns the last status of the storage, if it caused the error.
    pub fn status(&self) -> Option<u16> {
        match self.kind {
            Kind::Status { status, .. } | Kind::Refused(status) => Some(status),
            _ => None,
        }
    }

    /// Returns true if the content does not match the stated length or checksum.
    pub fn is_corrupt(&self) -> bool {
        matches!(self.kind, Kind::Size { .. } | Kind::Checksum { .. })
    }
}

impl Retryable for DownloadError {
    fn unavailable(gave_up: GaveUp) -> Self {
        Self::new(Path::new(""), Kind::Http { is_transient: true }, Some(gave_up.into()))
    }

    fn retryability(&self) -> Retryability {
        let is_retried = self.is_transient() && !matches!(self.kind, Kind::Resolve { .. } | Kind::Changed);
        if is_retried { Retryability::Always } else { Retryability::Never }
    }

    fn host_failure(&self) -> String {
        in_full(&self.kind, self.source())
    }

    fn is_answer(&self) -> bool {
        matches!(self.kind, Kind::Status { .. } | Kind::Refused(_) | Kind::Malformed(_))
    }

    fn retry_after(&self) -> Option<Duration> {
        if let Kind::Status { retry_after, .. } = self.kind { retry_after } else { None }
    }

    fn given_up(self, gave_up: GaveUp) -> Self {
        Self { gave_up: Some(gave_up), ..self }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl From<durable_fs::Error> for FolderError {
    fn from(error: durable_fs::Error) -> Self {
        let path = error.path().to_owned();
        if error.is_symbolic_link() {
            return Self { path, kind: FolderKind::SharedUrl, source: None };
        }
        let kind = if error.is_storage_full() { FolderKind::DiskFull } else { FolderKind::Io };
        Self { path, kind, source: Some(error.into()) }
    }
}

/// An error of a result folder. It names the folder or the file in it.
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
    #[error("is a symbolic link, which is not followed")]
    SharedUrl,
    #[error("the manifest has no entry for it")]
    NoEntry,
    #[error("the disk is full: free some space and try again")]
    DiskFull,
    #[error("not enough disk space: {needed} bytes are needed and {free} are free")]
    NoSpace { needed: u64, free: u64 },
    #[error("another process is writing into this folder: wait for it, or name another folder")]
    Locked,
    #[error("manifest.jsonl is missing")]
    NoManifest,
    #[error("line {0} is not a manifest entry: move the file away to start a new manifest")]
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

    pub(crate) fn no_entry(path: &Path) -> Self {
        Self { path: path.to_owned(), kind: FolderKind::NoEntry, source: None }
    }

    pub(crate) fn no_space(path: &Path, needed: u64, free: u64) -> Self {
        Self { path: path.to_owned(), kind: FolderKind::NoSpace { needed, free }, source: None }
    }

    pub(crate) fn no_manifest(path: &Path) -> Self {
        Self { path: path.to_owned(), kind: FolderKind::NoManifest, source: None }
    }

    pub(crate) fn malformed(path: &Path, line: usize, source: serde_json::Error) -> Self {
        Self { path: path.to_owned(), kind: FolderKind::Malformed(line), source: Some(source.into()) }
    }

    /// Returns true if the file has no manifest entry.
    pub fn is_without_entry(&self) -> bool {
        matches!(self.kind, FolderKind::NoEntry)
    }

    /// Returns true if the disk is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self.kind, FolderKind::DiskFull | FolderKind::NoSpace { .. })
    }

    /// Returns true if the folder has no manifest.
    pub fn is_without_manifest(&self) -> bool {
        matches!(self.kind, FolderKind::NoManifest)
    }

    /// Returns true if another process has the folder open.
    pub fn is_locked(&self) -> bool {
        matches!(self.kind, FolderKind::Locked)
    }
}

/// The error of a [`Source`](crate::Source) that is temporarily unavailable: a later call can succeed.
#[derive(Debug)]
pub struct SourceUnavailable {
    source: Box<dyn Error + Send + Sync>,
    gave_up: Option<GaveUp>,
}

impl SourceUnavailable {
    /// Wraps the cause. `gave_up` is the reason why the source no longer retries.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>, gave_up: Option<GaveUp>) -> Self {
        Self { source: source.into(), gave_up }
    }

    fn gave_up(&self) -> Option<&GaveUp> {
        self.gave_up.as_ref()
    }
}

impl fmt::Display for SourceUnavailable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(formatter)
    }
}

impl Error for SourceUnavailable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

/// Returns true if a later call of the source can succeed.
#[cfg(feature = "object-store")]
pub(crate) fn is_unavailable(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    error.is::<SourceUnavailable>()
}
