use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_http::retry::GaveUp;

use crate::Crc32c;
use crate::retry::{Retryability, Retryable, in_full, suffix};
use crate::storage::bucket::ErrorResponse;

/// An error of an upload. The storage has no partial object; parts that it confirmed are kept for the next upload.
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
    #[error("cannot determine whether it already exists")]
    Look(bool),
    #[error("the storage did not respond, or the response was incomplete")]
    Http(bool),
    #[error("{0}")]
    Refused(ErrorResponse),
    #[error("the storage has the CRC32C {actual} instead of {expected}")]
    Corrupt { expected: Crc32c, actual: Crc32c },
    #[error("the storage states no CRC32C")]
    Unconfirmed,
    /// A step of an upload in parts.
    #[error("{0}")]
    Parts(&'static str, bool),
    #[error("the storage ended the upload in parts repeatedly")]
    Ended,
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

    /// Sets the file and the key.
    pub(super) fn about(self, file: &Path, key: &str) -> Self {
        Self { file: file.to_owned(), key: key.to_owned(), ..self }
    }

    /// Returns the path of the file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the key of the object.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns true if the file changed after its checksum was computed.
    pub fn is_changed(&self) -> bool {
        matches!(self.kind, Kind::Changed)
    }

    /// Returns true if the cause is local: the file cannot be read, is not a regular file, or changes.
    pub fn is_local(&self) -> bool {
        matches!(self.kind, Kind::Read | Kind::NotAFile(_) | Kind::Changed | Kind::Duplicate)
    }

    /// Returns true if the upload may succeed later. Retries have been exhausted.
    pub fn is_transient(&self) -> bool {
        match &self.kind {
            Kind::Http(passes) | Kind::Look(passes) | Kind::Parts(_, passes) => *passes,
            // The sent bytes were correct, but corrupted in transit.
            Kind::Refused(refusal) => refusal.is_transient() || refusal.is("BadDigest"),
            Kind::Corrupt { .. } => true,
            _ => false,
        }
    }

    /// Returns true if the upload in parts does not exist at the storage.
    pub(super) fn is_no_such_upload(&self) -> bool {
        matches!(&self.kind, Kind::Refused(refusal) if refusal.is("NoSuchUpload"))
    }

    /// Returns true if the storage rejects the signing key or the signature.
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

    fn retryability(&self) -> Retryability {
        match &self.kind {
            _ if self.is_transient() => Retryability::Always,
            Kind::Refused(refusal) => refusal.retryability(),
            _ => Retryability::Never,
        }
    }
}
