use std::error::Error;
use std::time::Duration;

use auth_http::HttpError;
use auth_http::retry::GaveUp;

use crate::Crc32c;
use crate::error::is_unavailable;
use crate::retry::{Retryability, Retryable, in_full, suffix};
use crate::storage::bucket::ErrorResponse;

/// An error of storing an object. An existing object under its key is unchanged.
#[derive(Debug, thiserror::Error)]
#[error("{key} was not stored: {kind}{}", suffix(gave_up.as_ref()))]
pub struct StoreError {
    key: String,
    kind: Kind,
    gave_up: Option<GaveUp>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Kind {
    #[error("it is not an object key")]
    Key,
    #[error("cannot obtain the URL of the file")]
    Resolve { passes: bool },
    #[error("the source did not respond, or the response was incomplete")]
    Http { passes: bool },
    #[error("unusable response of the source: {0}")]
    Refused(ErrorResponse),
    #[error("the file was replaced during the download")]
    Replaced,
    #[error("it comes with the content encoding '{0}', although none was requested, and without a stated checksum")]
    Encoded(String),
    #[error("received {actual} bytes instead of {expected}")]
    Size { expected: u64, actual: u64 },
    #[error("the received bytes have the CRC32C {actual} instead of {expected}")]
    Checksum { expected: Crc32c, actual: Crc32c },
    #[error("the object was replaced after it was stored")]
    Other,
    #[error("the store rejected it")]
    Store { passes: bool },
}

impl From<Kind> for StoreError {
    fn from(kind: Kind) -> Self {
        Self { key: String::new(), kind, gave_up: None, source: None }
    }
}

impl Kind {
    pub(super) fn with(self, source: Box<dyn Error + Send + Sync>) -> StoreError {
        StoreError { source: Some(source), ..self.into() }
    }
}

impl StoreError {
    /// Creates the error of a store, which has already retried transient failures.
    pub(super) fn store(source: object_store::Error) -> Self {
        Kind::Store { passes: false }.with(source.into())
    }

    pub(super) fn http(source: HttpError) -> Self {
        Kind::Http { passes: source.is_transient() }.with(source.into())
    }

    /// Creates the error of a source that returned no URL: it is unavailable, or has none.
    pub(super) fn resolve(source: Box<dyn Error + Send + Sync>) -> Self {
        Kind::Resolve { passes: is_unavailable(&*source) }.with(source)
    }

    /// Sets the key of the object.
    pub(super) fn about(self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self }
    }

    /// Returns the key of the object.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns true if the object was replaced during the download.
    pub(super) fn is_replaced(&self) -> bool {
        matches!(self.kind, Kind::Replaced)
    }

    /// Returns true if the content does not match the stated length or checksum.
    pub fn is_corrupt(&self) -> bool {
        matches!(self.kind, Kind::Size { .. } | Kind::Checksum { .. })
    }

    /// Returns true if the cause is the store: it cannot be read or written.
    pub fn is_store(&self) -> bool {
        matches!(self.kind, Kind::Store { .. } | Kind::Key)
    }

    /// Returns true if the operation may succeed later. Retries have been exhausted.
    pub fn is_transient(&self) -> bool {
        match &self.kind {
            Kind::Http { passes } | Kind::Store { passes } | Kind::Resolve { passes } => *passes,
            Kind::Refused(refusal) => refusal.is_transient(),
            Kind::Replaced | Kind::Other => true,
            _ => false,
        }
    }
}

impl Retryable for StoreError {
    fn unavailable(gave_up: GaveUp) -> Self {
        Kind::Http { passes: true }.with(gave_up.into())
    }

    fn host_failure(&self) -> String {
        in_full(&self.kind, self.source())
    }

    fn is_answer(&self) -> bool {
        !matches!(self.kind, Kind::Key | Kind::Resolve { .. } | Kind::Http { .. } | Kind::Store { .. })
    }

    fn retry_after(&self) -> Option<Duration> {
        if let Kind::Refused(refusal) = &self.kind { refusal.retry_after } else { None }
    }

    fn given_up(self, gave_up: GaveUp) -> Self {
        Self { gave_up: Some(gave_up), ..self }
    }

    fn retryability(&self) -> Retryability {
        match &self.kind {
            Kind::Refused(refusal) => refusal.retryability(),
            Kind::Size { .. } | Kind::Checksum { .. } => Retryability::Once,
            // Both are retried at their origin.
            Kind::Resolve { .. } | Kind::Store { .. } => Retryability::Never,
            _ if self.gave_up.is_some() => Retryability::Never,
            _ if self.is_transient() => Retryability::Always,
            _ => Retryability::Never,
        }
    }
}
