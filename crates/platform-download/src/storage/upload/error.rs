use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use auth_http::retry::RetriesExhausted;

use crate::Crc32c;
use crate::retry::{Retryability, Retryable, exhaustion_suffix, message_with_sources};
use crate::storage::bucket::ErrorResponse;

/// The error of a file that could not be uploaded. A failed upload never leaves an incomplete object in the bucket.
/// With an upload journal, the parts that the storage has confirmed are not sent again by the next upload.
#[derive(Debug, thiserror::Error)]
#[error("{} was not uploaded as `{key}`: {kind}{}", file.display(), exhaustion_suffix(exhausted.as_ref()))]
pub struct UploadError {
    // Smaller than a `PathBuf`, so that results are small.
    file: Box<Path>,
    key: String,
    kind: Kind,
    exhausted: Option<RetriesExhausted>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Kind {
    #[error("it cannot be read")]
    Read,
    #[cfg(feature = "object-store")]
    #[error("its store cannot be read")]
    Source,
    #[error("it is {0}")]
    NotAFile(&'static str),
    #[error("it changed during the upload, or does not have the expected checksum")]
    Changed,
    #[error("another file of the same upload has this key")]
    Duplicate,
    #[error("cannot sign its URL")]
    Sign,
    #[error("cannot determine whether it already exists")]
    Query(bool),
    #[error("the storage did not respond, or the response was incomplete")]
    Http(bool),
    #[error("{0}")]
    Refused(ErrorResponse),
    #[error("the stored object has the CRC32C {actual} instead of {expected}")]
    Corrupt { expected: Crc32c, actual: Crc32c },
    #[error("the storage did not confirm the content: its response has no CRC32C or no ETag")]
    Unconfirmed,
    /// A failed step of a multipart upload, and true if the failure is transient.
    #[error("{0}")]
    Multipart(&'static str, bool),
    #[error("the storage repeatedly discarded the multipart upload")]
    Discarded,
}

impl From<Kind> for UploadError {
    fn from(kind: Kind) -> Self {
        Self { file: Path::new("").into(), key: String::new(), kind, exhausted: None, source: None }
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

    /// Sets the file and the key of the object.
    pub(super) fn with_file(self, file: &Path, key: &str) -> Self {
        Self { file: file.into(), key: key.to_owned(), ..self }
    }

    /// Returns the path of the file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the key of the object.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns true if the file changed during the upload, or does not have the expected checksum.
    pub fn is_changed(&self) -> bool {
        matches!(self.kind, Kind::Changed)
    }

    /// Returns true if the cause is local: the file cannot be read, is not a regular file, has changed, or has the same
    /// key as another file.
    pub fn is_local(&self) -> bool {
        matches!(self.kind, Kind::Read | Kind::NotAFile(_) | Kind::Changed | Kind::Duplicate)
    }

    /// Returns true if the upload may succeed later. It was already retried.
    pub fn is_transient(&self) -> bool {
        match &self.kind {
            Kind::Http(is_transient) | Kind::Query(is_transient) | Kind::Multipart(_, is_transient) => *is_transient,
            // A wrong checksum means corruption in transit, because the file was read correctly.
            Kind::Refused(refusal) => refusal.is_transient() || refusal.is("BadDigest"),
            Kind::Corrupt { .. } => true,
            _ => false,
        }
    }

    /// Returns true if the storage does not know the multipart upload.
    pub(super) fn is_no_such_upload(&self) -> bool {
        matches!(&self.kind, Kind::Refused(refusal) if refusal.is("NoSuchUpload"))
    }

    /// Returns true if the storage rejects the signing key or the signature.
    pub fn is_denied(&self) -> bool {
        matches!(&self.kind, Kind::Refused(refusal) if refusal.rejects_url())
    }
}

impl Retryable for UploadError {
    fn unavailable(exhausted: RetriesExhausted) -> Self {
        Kind::Http(true).with(exhausted)
    }

    fn host_failure(&self) -> String {
        message_with_sources(&self.kind, self.source())
    }

    fn has_response(&self) -> bool {
        matches!(self.kind, Kind::Refused(_) | Kind::Corrupt { .. } | Kind::Unconfirmed)
    }

    fn retry_after(&self) -> Option<Duration> {
        if let Kind::Refused(refusal) = &self.kind { refusal.retry_after } else { None }
    }

    fn retries_exhausted(self, exhausted: RetriesExhausted) -> Self {
        Self { exhausted: Some(exhausted), ..self }
    }

    fn retryability(&self) -> Retryability {
        match &self.kind {
            _ if self.is_transient() => Retryability::Always,
            Kind::Refused(refusal) => refusal.retryability(),
            _ => Retryability::Never,
        }
    }
}
