use std::error::Error;
use std::path::Path;
use std::time::Duration;

use auth_http::HttpError;
use auth_http::retry::{RetriesExhausted, is_transient_status};
use object_store::client::{HttpError as RequestError, HttpErrorKind};

use crate::Crc32c;
use crate::error::{FolderError, is_unavailable};
use crate::retry::{Retryability, Retryable, exhaustion_suffix, message_with_sources};
use crate::storage::bucket::ErrorResponse;

/// The error codes for an unknown upload or part: first those of S3 and Google Cloud Storage, then those of Azure.
const UNKNOWN_UPLOAD_CODES: [&str; 5] =
    ["NoSuchUpload", "InvalidPart", "InvalidBlockList", "InvalidBlobOrBlock", "InvalidBlockId"];

/// The error of an object that could not be stored. An existing object under its key is unchanged.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {kind}{}", exhaustion_suffix(exhausted.as_ref()))]
pub struct StoreError {
    key: String,
    kind: Kind,
    exhausted: Option<RetriesExhausted>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Kind {
    #[error("the key is not valid")]
    Key,
    #[error("this program does not support this kind of store")]
    Unsupported,
    #[error("cannot obtain the URL of the file")]
    Resolve { is_transient: bool },
    #[error("the source did not respond, or the response was incomplete")]
    Http { is_transient: bool },
    #[error("the source returned an error: {0}")]
    Refused(ErrorResponse),
    #[error("the file was replaced during the download")]
    Replaced,
    #[error("the source does not return ranges of the file")]
    Unranged,
    #[error(
        "the source used the content encoding '{0}', which was not requested, and the content cannot be verified without a checksum"
    )]
    Encoded(String),
    #[error("received {actual} bytes instead of {expected}")]
    Size { expected: u64, actual: u64 },
    #[error("the received bytes have the CRC32C {actual} instead of {expected}")]
    Checksum { expected: Crc32c, actual: Crc32c },
    #[error("the object was replaced or deleted after it was stored")]
    Overwritten,
    #[error("other processes have changed the object during each attempt")]
    Conflict,
    #[error("{0}: keys with an empty segment, '.' or '..' are not supported")]
    UnsupportedKey(object_store::path::Error),
    #[error("it was not stored, because the store has failed for several files in succession")]
    Skipped,
    #[error(
        "the store ignores the conditions of requests, and cannot exclude other processes: --no-lock does not need them"
    )]
    Unconditional,
    #[error("the store cannot be read or written")]
    Store { is_transient: bool },
}

impl From<Kind> for StoreError {
    fn from(kind: Kind) -> Self {
        Self { key: String::new(), kind, exhausted: None, source: None }
    }
}

impl Kind {
    pub(super) fn with(self, source: Box<dyn Error + Send + Sync>) -> StoreError {
        StoreError { source: Some(source), ..self.into() }
    }
}

impl StoreError {
    /// Creates the error of a failed store operation. `object_store` has already retried transient failures.
    pub(super) fn store(source: object_store::Error) -> Self {
        Kind::Store { is_transient: is_outage(&source) }.with(source.into())
    }

    pub(super) fn http(source: HttpError) -> Self {
        Kind::Http { is_transient: source.is_transient() }.with(source.into())
    }

    /// Creates the error of a source that returned no URL.
    pub(super) fn resolve(source: Box<dyn Error + Send + Sync>) -> Self {
        Kind::Resolve { is_transient: is_unavailable(&*source) }.with(source)
    }

    /// Creates the error of an object that was skipped because the store has failed for several others.
    pub fn skipped(key: &str) -> Self {
        Self::from(Kind::Skipped).with_key(key)
    }

    /// Sets the key of the object.
    pub(super) fn with_key(self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self }
    }

    /// Returns the key of the object.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns true if the source was replaced during the download.
    pub(crate) fn is_replaced(&self) -> bool {
        matches!(self.kind, Kind::Replaced)
    }

    /// Returns true if the source ignored the range of a request.
    pub(super) fn is_unranged(&self) -> bool {
        matches!(self.kind, Kind::Unranged)
    }

    /// Returns true if the store does not know the upload or one of its parts.
    pub(super) fn is_unknown_upload(&self) -> bool {
        let cause = self.source.as_deref().and_then(|source| source.downcast_ref::<object_store::Error>());
        cause.is_some_and(|cause| {
            let is_not_found = matches!(cause, object_store::Error::NotFound { .. });
            is_not_found || UNKNOWN_UPLOAD_CODES.iter().any(|code| cause.to_string().contains(code))
        })
    }

    /// Returns true if the content does not have the expected length or checksum.
    pub fn is_corrupt(&self) -> bool {
        matches!(self.kind, Kind::Size { .. } | Kind::Checksum { .. })
    }

    /// Returns true if the store caused the error: it cannot be read or written, or the key is not valid.
    pub fn is_store(&self) -> bool {
        matches!(
            self.kind,
            Kind::Store { .. }
                | Kind::Skipped
                | Kind::Unconditional
                | Kind::UnsupportedKey(_)
                | Kind::Key
                | Kind::Unsupported
        )
    }

    /// Returns true if the credentials do not permit the operation. Some stores also return this error for a missing
    /// object, if the credentials do not permit listing.
    pub fn is_denied(&self) -> bool {
        let cause = self.source.as_deref().and_then(|source| source.downcast_ref::<object_store::Error>());
        cause.is_some_and(|cause| matches!(cause, object_store::Error::PermissionDenied { .. }))
    }

    /// Converts the error into the error of a results folder in a store, with the address of the object.
    pub fn into_folder_error(self, address: &str) -> FolderError {
        FolderError::store(Path::new(address), self.is_transient(), self)
    }

    /// Returns true if the retries of this file reached their time limit although the host serves other files. The
    /// caller can fetch the other files first, and then retry this file.
    pub fn is_request_limit(&self) -> bool {
        self.is_transient() && self.exhausted.as_ref().is_some_and(RetriesExhausted::is_request_limit)
    }

    /// Returns true if the transfer may succeed later. The transfer was already retried.
    pub fn is_transient(&self) -> bool {
        match &self.kind {
            Kind::Http { is_transient } | Kind::Store { is_transient } | Kind::Resolve { is_transient } => {
                *is_transient
            }
            Kind::Refused(refusal) => refusal.is_transient(),
            Kind::Replaced | Kind::Overwritten | Kind::Conflict | Kind::Skipped => true,
            _ => false,
        }
    }
}

/// Returns the kind of the transport error, if the store did not respond.
pub(super) fn transport_error_kind(error: &object_store::Error) -> Option<HttpErrorKind> {
    let causes = std::iter::successors(Some(error as &dyn Error), |&error| error.source());
    causes.into_iter().find_map(|cause| cause.downcast_ref::<RequestError>()).map(RequestError::kind)
}

/// Returns true if the store did not respond, or responded that it is unavailable.
fn is_outage(error: &object_store::Error) -> bool {
    use HttpErrorKind::{Connect, Decode, Interrupted, Request, Timeout};
    // `object_store` keeps the type with the status private, so that the status is parsed from the text of the error.
    let status = |error: &(dyn Error + 'static)| -> Option<u16> {
        let text = error.to_string();
        text.split_once("non-2xx status code: ")?.1.get(..3)?.parse().ok()
    };
    match (transport_error_kind(error), error) {
        (Some(kind), _) => matches!(kind, Connect | Request | Timeout | Interrupted | Decode),
        (None, object_store::Error::Generic { source, .. }) => status(&**source).is_some_and(is_transient_status),
        _ => false,
    }
}

impl Retryable for StoreError {
    fn unavailable(exhausted: RetriesExhausted) -> Self {
        Kind::Http { is_transient: true }.with(exhausted.into())
    }

    fn host_failure(&self) -> String {
        message_with_sources(&self.kind, self.source())
    }

    fn has_response(&self) -> bool {
        !matches!(self.kind, Kind::Key | Kind::Resolve { .. } | Kind::Http { .. } | Kind::Store { .. })
    }

    fn retry_after(&self) -> Option<Duration> {
        if let Kind::Refused(refusal) = &self.kind { refusal.retry_after } else { None }
    }

    fn retries_exhausted(self, exhausted: RetriesExhausted) -> Self {
        Self { exhausted: Some(exhausted), ..self }
    }

    fn retryability(&self) -> Retryability {
        match &self.kind {
            // The requests were already retried up to the limit.
            _ if self.exhausted.is_some() => Retryability::Never,
            Kind::Refused(refusal) => refusal.retryability(),
            Kind::Size { .. } | Kind::Checksum { .. } => Retryability::Once,
            // The source and the store retry their own requests.
            Kind::Resolve { .. } | Kind::Store { .. } | Kind::Skipped => Retryability::Never,
            _ if self.is_transient() => Retryability::Always,
            _ => Retryability::Never,
        }
    }
}
