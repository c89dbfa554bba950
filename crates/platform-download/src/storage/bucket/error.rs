use std::error::Error;
use std::time::Duration;

use auth_http::HttpError;
use auth_http::retry::GaveUp;

use super::ErrorResponse;
use crate::SignError;
use crate::retry::{Retryability, Retryable, in_full, suffix};

/// An error of a bucket operation.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {kind}{}", suffix(gave_up.as_ref()))]
pub struct BucketError {
    what: String,
    kind: Kind,
    gave_up: Option<GaveUp>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("no URL can be signed for it")]
    Sign,
    #[error("the storage did not respond, or the response was incomplete")]
    Http { is_transient: bool },
    #[error("{0}")]
    Refused(ErrorResponse),
    #[error("unexpected response")]
    Document,
    #[error(
        "`*` stands for anything in a name, `**/` for any folders, `[…]` and `{{…}}` for alternatives, and `\\` before one for itself"
    )]
    Pattern,
}

impl BucketError {
    fn new(kind: Kind, source: Option<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what: String::new(), kind, gave_up: None, source }
    }

    pub(super) fn sign(source: SignError) -> Self {
        Self::new(Kind::Sign, Some(source.into()))
    }

    pub(super) fn http(source: HttpError) -> Self {
        Self::new(Kind::Http { is_transient: source.is_transient() }, Some(source.into()))
    }

    pub(super) fn refused(refusal: ErrorResponse) -> Self {
        Self::new(Kind::Refused(refusal), None)
    }

    pub(super) fn document(source: impl Error + Send + Sync + 'static) -> Self {
        Self::new(Kind::Document, Some(source.into()))
    }

    pub(super) fn pattern(source: globset::Error) -> Self {
        let what = format!("invalid pattern `{}`", source.glob().unwrap_or_default());
        Self::new(Kind::Pattern, Some(source.into())).about(what)
    }

    /// Sets the description of the failed operation.
    pub(super) fn about(mut self, what: String) -> Self {
        self.what = what;
        self
    }

    /// Returns the error status of the storage's response, if any (RFC 9110, section 15).
    pub fn status(&self) -> Option<u16> {
        match &self.kind {
            Kind::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }

    /// Returns true if the operation may succeed later. Retries have been exhausted.
    pub fn is_transient(&self) -> bool {
        match &self.kind {
            Kind::Http { is_transient } => *is_transient,
            Kind::Refused(refusal) => refusal.is_transient(),
            _ => false,
        }
    }

    /// Returns true if the storage rejects the signing key or the signature.
    pub fn is_denied(&self) -> bool {
        matches!(&self.kind, Kind::Refused(refusal) if refusal.is_about_url())
    }

    /// Returns true if the storage responded with this error code, such as `NoSuchUpload`.
    pub(crate) fn is(&self, code: &str) -> bool {
        matches!(&self.kind, Kind::Refused(refusal) if refusal.is(code))
    }

    /// Returns true if the pattern is invalid.
    pub fn is_pattern(&self) -> bool {
        matches!(self.kind, Kind::Pattern)
    }
}

impl Retryable for BucketError {
    fn unavailable(gave_up: GaveUp) -> Self {
        Self::new(Kind::Http { is_transient: true }, Some(gave_up.into()))
    }

    fn host_failure(&self) -> String {
        in_full(&self.kind, self.source())
    }

    fn is_answer(&self) -> bool {
        matches!(self.kind, Kind::Refused(_) | Kind::Document)
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
            _ if self.is_transient() => Retryability::Always,
            _ => Retryability::Never,
        }
    }
}
