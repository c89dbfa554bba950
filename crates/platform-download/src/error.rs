use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_http::HttpError;
use auth_http::retry::{RetriesExhausted, is_transient_status};

use crate::checksum::Crc32c;
use crate::retry::{Retryability, Retryable, exhaustion_suffix, message_with_sources};

/// An error of downloading a file. A file that already existed at the target path is unchanged.
#[derive(Debug, thiserror::Error)]
#[error("{} was not downloaded: {kind}{}", file.display(), exhaustion_suffix(exhausted.as_ref()))]
pub struct DownloadError {
    file: PathBuf,
    kind: Kind,
    /// The reason why the download was not retried, or was no longer retried.
    exhausted: Option<RetriesExhausted>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// Returns the end of a message with the path of the rejected content, if it was saved.
fn quarantine_suffix(quarantined: Option<&Path>) -> String {
    quarantined.map(|path| format!("; the content was saved as {}", path.display())).unwrap_or_default()
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("cannot obtain its URL")]
    Resolve { is_transient: bool },
    #[error("the storage did not respond, or the response was incomplete")]
    Http { is_transient: bool },
    #[error("the storage responded with {status}")]
    Status { status: u16, retry_after: Option<Duration> },
    #[error("the storage refused its URL ({0}), and then a new URL")]
    Refused(u16),
    #[error("the storage sent too little data for too long")]
    Stalled,
    #[error("unusable response of the storage: {0}")]
    Malformed(&'static str),
    #[error("it was replaced repeatedly in the storage during the download: try again later")]
    Changed,
    #[error("received {actual} bytes instead of {expected}")]
    Size { expected: u64, actual: u64 },
    #[error("two downloads have the CRC32C {actual} instead of {expected}{}", quarantine_suffix(quarantined.as_deref()))]
    Checksum { expected: Crc32c, actual: Crc32c, quarantined: Option<PathBuf> },
    #[error("not enough disk space: {needed} bytes are needed and {free} are free")]
    NoSpace { needed: u64, free: u64 },
    #[error("another process is downloading it: wait for it")]
    Locked,
    #[error("the disk is full: free some space and try again")]
    DiskFull,
    #[error("it could not be written")]
    Write,
    #[error("'{}' cannot be read; it was not deleted", path.display())]
    Read { path: PathBuf },
    #[error("another process replaces it during the download")]
    ChangedByAnotherProcess,
    #[error("the storage sent it with the unrequested content encoding '{0}', and no checksum is known")]
    Encoded(String),
}

impl DownloadError {
    fn new(file: &Path, kind: Kind, source: Option<Box<dyn Error + Send + Sync>>) -> Self {
        Self { file: file.to_owned(), kind, exhausted: None, source }
    }

    pub(crate) fn resolve(file: &Path, source: Box<dyn Error + Send + Sync>) -> Self {
        let unavailable: Option<&SourceUnavailable> = source.downcast_ref();
        let (is_transient, exhausted) =
            (unavailable.is_some(), unavailable.and_then(|error| error.retries_exhausted().cloned()));
        Self { exhausted, ..Self::new(file, Kind::Resolve { is_transient }, Some(source)) }
    }

    pub(crate) fn http(file: &Path, source: HttpError) -> Self {
        Self::new(file, Kind::Http { is_transient: source.is_transient() }, Some(source.into()))
    }

    pub(crate) fn from_status(file: &Path, status: u16, retry_after: Option<Duration>) -> Self {
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

    pub(crate) fn malformed(file: &Path, reason: &'static str) -> Self {
        Self::new(file, Kind::Malformed(reason), None)
    }

    pub(crate) fn changed(file: &Path) -> Self {
        Self::new(file, Kind::Changed, None)
    }

    pub(crate) fn checksum(file: &Path, expected: Crc32c, actual: Crc32c) -> Self {
        Self::new(file, Kind::Checksum { expected, actual, quarantined: None }, None)
    }

    /// Sets the path under which the content with the wrong checksum was saved.
    pub(crate) fn with_quarantined_file(mut self, path: Option<PathBuf>) -> Self {
        if let Kind::Checksum { quarantined, .. } = &mut self.kind {
            *quarantined = path;
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

    /// Creates the error for `path`, a local file that could not be read and was not deleted.
    pub(crate) fn read(file: &Path, path: &Path, source: io::Error) -> Self {
        Self::new(file, Kind::Read { path: path.to_owned() }, Some(source.into()))
    }

    pub(crate) fn changed_by_another_process(file: &Path) -> Self {
        Self::new(file, Kind::ChangedByAnotherProcess, None)
    }

    pub(crate) fn encoded(file: &Path, encoding: &str) -> Self {
        Self::new(file, Kind::Encoded(encoding.to_owned()), None)
    }

    /// Sets the file that was not downloaded.
    pub(crate) fn with_file(self, file: &Path) -> Self {
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

    /// Returns true if the cause is local: a file is locked, or it cannot be read or written, for example on a full
    /// disk.
    pub fn is_local(&self) -> bool {
        let is_file_error =
            matches!(self.kind, Kind::Locked | Kind::Write | Kind::Read { .. } | Kind::ChangedByAnotherProcess);
        is_file_error || self.is_disk_full()
    }

    /// Returns true if a local file cannot be read. Content that was already downloaded is not deleted.
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

    /// Returns true if the retries of this file reached their time limit while the storage serves other files. The
    /// caller can download other files first and this one later.
    pub fn is_request_limit(&self) -> bool {
        self.is_transient() && self.exhausted.as_ref().is_some_and(RetriesExhausted::is_request_limit)
    }

    /// Returns the HTTP status of the storage's last response, if the status caused the error.
    pub fn status(&self) -> Option<u16> {
        match self.kind {
            Kind::Status { status, .. } | Kind::Refused(status) => Some(status),
            _ => None,
        }
    }

    /// Returns true if the content does not have the expected length or checksum.
    pub fn is_corrupt(&self) -> bool {
        matches!(self.kind, Kind::Size { .. } | Kind::Checksum { .. })
    }
}

impl Retryable for DownloadError {
    fn unavailable(exhausted: RetriesExhausted) -> Self {
        Self::new(Path::new(""), Kind::Http { is_transient: true }, Some(exhausted.into()))
    }

    fn retryability(&self) -> Retryability {
        let is_retried = self.is_transient() && !matches!(self.kind, Kind::Resolve { .. } | Kind::Changed);
        if is_retried { Retryability::Always } else { Retryability::Never }
    }

    fn host_failure(&self) -> String {
        message_with_sources(&self.kind, self.source())
    }

    fn has_response(&self) -> bool {
        matches!(self.kind, Kind::Status { .. } | Kind::Refused(_) | Kind::Malformed(_))
    }

    fn retry_after(&self) -> Option<Duration> {
        if let Kind::Status { retry_after, .. } = self.kind { retry_after } else { None }
    }

    fn retries_exhausted(self, exhausted: RetriesExhausted) -> Self {
        Self { exhausted: Some(exhausted), ..self }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl From<durable_fs::Error> for FolderError {
    fn from(error: durable_fs::Error) -> Self {
        let path = error.path().to_owned();
        if error.is_symbolic_link() {
            return Self { path, kind: FolderKind::SymbolicLink, source: None };
        }
        let kind = if error.is_storage_full() { FolderKind::DiskFull } else { FolderKind::Io };
        Self { path, kind, source: Some(error.into()) }
    }
}

/// An error of a [`ResultFolder`](crate::ResultFolder). Its message starts with the path of the folder, or of the
/// affected file in the folder.
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
    #[error("cannot be read or written")]
    #[cfg_attr(not(feature = "object-store"), expect(dead_code, reason = "no stores"))]
    Store { is_transient: bool },
    #[error("is a symbolic link, which is not followed")]
    SymbolicLink,
    #[error("the manifest has no entry for this file")]
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

    /// Creates the error for a path in a store.
    #[cfg(feature = "object-store")]
    pub(crate) fn store(path: &Path, is_transient: bool, source: impl Error + Send + Sync + 'static) -> Self {
        Self { path: path.to_owned(), kind: FolderKind::Store { is_transient }, source: Some(Box::new(source)) }
    }

    /// Creates the error for a folder, or a path in a store, that another process is writing to.
    pub fn locked(path: &Path) -> Self {
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

    /// Returns true if no manifest has an entry for the file.
    pub fn has_no_entry(&self) -> bool {
        matches!(self.kind, FolderKind::NoEntry)
    }

    /// Returns true if the disk is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self.kind, FolderKind::DiskFull | FolderKind::NoSpace { .. })
    }

    /// Returns true if the folder has no manifest.
    pub fn has_no_manifest(&self) -> bool {
        matches!(self.kind, FolderKind::NoManifest)
    }

    /// Returns true if another process has the folder open.
    pub fn is_locked(&self) -> bool {
        matches!(self.kind, FolderKind::Locked)
    }

    /// Returns true if the folder is in a store that may be available later.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, FolderKind::Store { is_transient: true })
    }
}

/// The error of a [`Source`](crate::Source) that is temporarily unavailable. A later call can succeed.
#[derive(Debug)]
pub struct SourceUnavailable {
    source: Box<dyn Error + Send + Sync>,
    exhausted: Option<RetriesExhausted>,
}

impl SourceUnavailable {
    /// Wraps the cause. `exhausted` is the reason why the source stopped retrying, if it retried.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>, exhausted: Option<RetriesExhausted>) -> Self {
        Self { source: source.into(), exhausted }
    }

    fn retries_exhausted(&self) -> Option<&RetriesExhausted> {
        self.exhausted.as_ref()
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

/// Returns true for a [`SourceUnavailable`].
#[cfg(feature = "object-store")]
pub(crate) fn is_unavailable(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    error.is::<SourceUnavailable>()
}
