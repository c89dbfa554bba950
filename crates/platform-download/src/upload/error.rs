use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_http::retry::GaveUp;

use crate::Crc32c;
use crate::bucket::Refusal;
use crate::retry::{Chance, Retryable, in_full, suffix};

/// Why a file did not reach the storage, which has no half of it then.
#[derive(Debug, thiserror::Error)]
#[error("{} was not uploaded as `{key}`: {kind}{}", file.display(), suffix(gave_up.as_ref()))]
pub struct UploadError {
    file: PathBuf,
    key: String,
    kind: Kind,
    gave_up: Option<GaveUp>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Kind {
    #[error("it cannot be read")]
    Read,
    #[error("it is {0}")]
    NotAFile(&'static str),
    #[error("it changed while it was read, or is not the file whose checksum was given")]
    Changed,
    #[error("another file of the same upload has this key")]
    Duplicate,
    #[error("no URL can be signed for it")]
    Sign,
    #[error("whether it is there already cannot be found out")]
    Look(bool),
    #[error("the storage did not answer, or broke off")]
    Http(bool),
    #[error("{0}")]
    Refused(Refusal),
    #[error("the storage has the CRC32C {actual} instead of {expected}")]
    Corrupt { expected: Crc32c, actual: Crc32c },
    #[error("the storage does not say which CRC32C it has")]
    Unconfirmed,
}

impl From<Kind> for UploadError {
    fn from(kind: Kind) -> Self {
        Self { file: PathBuf::new(), key: String::new(), kind, gave_up: None, source: None }
    }
}

impl Kind {
    pub(super) fn with(self, source: impl Error + Send + Sync + 'static) -> UploadError {
        UploadError { source: Some(source.into()), ..self.into() }
    }
}

impl UploadError {
    pub(super) fn read(source: io::Error) -> Self {
        Kind::Read.with(source)
    }

    /// Says what was not uploaded.
    pub(super) fn about(self, file: &Path, key: &str) -> Self {
        Self { file: file.to_owned(), key: key.to_owned(), ..self }
    }

    /// The file that was not uploaded.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The object that it was to be.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The file is not what it was when its checksum was computed.
    pub fn is_changed(&self) -> bool {
        matches!(self.kind, Kind::Changed)
    }

    /// The fault is on this side: the file cannot be read, is none, or changes.
    pub fn is_local(&self) -> bool {
        matches!(self.kind, Kind::Read | Kind::NotAFile(_) | Kind::Changed | Kind::Duplicate)
    }

    /// It may succeed another time: it was tried often enough.
    pub fn is_transient(&self) -> bool {
        match &self.kind {
            Kind::Http(passes) | Kind::Look(passes) => *passes,
            // The bytes that left were the right ones: they changed on the way.
            Kind::Refused(refusal) => refusal.is_transient() || refusal.is("BadDigest"),
            Kind::Corrupt { .. } => true,
            _ => false,
        }
    }

    /// The storage refuses the key that the URL was signed with, or the signature.
    pub fn is_denied(&self) -> bool {
        matches!(&self.kind, Kind::Refused(refusal) if refusal.is_about_url())
    }
}

impl Retryable for UploadError {
    fn unavailable(gave_up: GaveUp) -> Self {
        Kind::Http(true).with(gave_up)
    }

    fn host_failure(&self) -> String {
        in_full(&self.kind, self.source())
    }

    fn is_answer(&self) -> bool {
        matches!(self.kind, Kind::Refused(_) | Kind::Corrupt { .. } | Kind::Unconfirmed)
    }

    fn retry_after(&self) -> Option<Duration> {
        if let Kind::Refused(refusal) = &self.kind { refusal.retry_after } else { None }
    }

    fn given_up(self, gave_up: GaveUp) -> Self {
        Self { gave_up: Some(gave_up), ..self }
    }

    fn chance(&self) -> Chance {
        match &self.kind {
            _ if self.is_transient() => Chance::Always,
            Kind::Refused(refusal) => refusal.chance(),
            _ => Chance::None,
        }
    }
}
