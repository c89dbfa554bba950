use std::error::Error;
use std::time::Duration;

use auth_http::HttpError;
use auth_http::retry::RetriesExhausted;

use super::ErrorResponse;
use crate::SignError;
use crate::retry::{Retryability, Retryable, exhaustion_suffix, message_with_sources};

/// An error of a bucket operation.
#[derive(Debug, thiserror::Error)]
#[error("{summary}: {kind}{}", exhaustion_suffix(exhausted.as_ref()))]
pub struct BucketError {
    /// The description of the failed operation.
    summary: String,
    kind: Kind,
    exhausted: Option<RetriesExhausted>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("cannot sign its URL")]
    Sign,
    #[error("the storage did not respond, or the response was incomplete")]
    Http { is_transient: bool },
    #[error("{0}")]
    Refused(ErrorResponse),
    #[error("unexpected response")]
    Malformed,
    #[error(
        "`*` matches any text in a name, `**/` any folders, `[…]` and `{{…}}` alternatives; `\\` escapes the next character"
    )]
    Pattern,
}

impl BucketError {
    fn new(kind: Kind, source: Option<Box<dyn Error + Send + Sync>>) -> Self {
        Self { summary: String::new(), kind, exhausted: None, source }
    }

    pub(super) fn sign(source: SignError) -> Self {
        Self::new(Kind::Sign, Some(source.into()))
    }

    pub(super) fn http(source: HttpError) -> Self {
        Self::new(Kind::Http { is_transient: source.is_transient() }, Some(source.into()))
    }

    pub(super) fn refused(response: ErrorResponse) -> Self {
        Self::new(Kind::Refused(response), None)
    }

    pub(super) fn malformed(source: impl Error + Send + Sync + 'static) -> Self {
        Self::new(Kind::Malformed, Some(source.into()))
    }

    pub(super) fn pattern(source: globset::Error) -> Self {
        let summary = format!("invalid pattern `{}`", source.glob().unwrap_or_default());
        Self::new(Kind::Pattern, Some(source.into())).with_summary(summary)
    }

    /// Sets the description of the failed operation.
    pub(super) fn with_summary(mut self, summary: String) -> Self {
        self.summary = summary;
        self
    }

    /// Returns the HTTP status of the storage's error response (RFC 9110, section 15). Returns `None` if the storage did not
    /// send an error response.
    pub fn status(&self) -> Option<u16> {
        match &self.kind {
            Kind::Refused(response) => Some(response.status),
            _ => None,
        }
    }

    /// Returns true if the operation may succeed later. It was already retried, so do not repeat it immediately.
    pub fn is_transient(&self) -> bool {
        match &self.kind {
            Kind::Http { is_transient } => *is_transient,
            Kind::Refused(response) => response.is_transient(),
            _ => false,
        }
    }

    /// Returns true if the storage rejects the URL: its key or signature, or because a permission is missing or it has
    /// expired.
    pub fn is_denied(&self) -> bool {
        matches!(&self.kind, Kind::Refused(response) if response.rejects_url())
    }

    /// Returns true if the storage responded with this error code, such as `NoSuchUpload`.
    pub(crate) fn is(&self, code: &str) -> bool {
        matches!(&self.kind, Kind::Refused(response) if response.is(code))
    }

    /// Returns true if the pattern is invalid.
    pub fn is_pattern(&self) -> bool {
        matches!(self.kind, Kind::Pattern)
    }
}

impl Retryable for BucketError {
    fn unavailable(exhausted: RetriesExhausted) -> Self {
        Self::new(Kind::Http { is_transient: true }, Some(exhausted.into()))
    }

    fn host_failure(&self) -> String {
        message_with_sources(&self.kind, self.source())
    }

    fn has_response(&self) -> bool {
        matches!(self.kind, Kind::Refused(_) | Kind::Malformed)
    }

    fn retry_after(&self) -> Option<Duration> {
        if let Kind::Refused(response) = &self.kind { response.retry_after } else { None }
    }

    fn retries_exhausted(self, exhausted: RetriesExhausted) -> Self {
        Self { exhausted: Some(exhausted), ..self }
    }

    fn retryability(&self) -> Retryability {
        match &self.kind {
            Kind::Refused(response) => response.retryability(),
            _ if self.is_transient() => Retryability::Always,
            _ => Retryability::Never,
        }
    }
}
