use std::error::Error;
use std::fmt;
use std::time::Duration;

use auth_core::is_transient_status;

use crate::transport::{Reach, TransportError};
use crate::{ApiResponse, BodyError, DecodeError, ErrorDetail, detail};

/// Why an operation brought no answer. It names what was asked, method and path, and, where there was one, the status;
/// bodies and secrets stay out of its `Display`.
#[derive(Debug)]
pub struct ApiError {
    operation: &'static str,
    /// Method and path, if it came to a request.
    asked: Option<Box<str>>,
    kind: Box<Kind>,
    /// Why it was not sent again, or not any more.
    gave_up: Option<Box<str>>,
}

#[derive(Debug)]
enum Kind {
    Transport(TransportError),
    Segment(&'static str),
    Header(String),
    Body(BodyError),
    Refused { status: u16, details: Vec<ErrorDetail>, snippet: Option<String>, retry_after: Option<Duration> },
    Decode(DecodeError),
}

fn hint(status: u16) -> &'static str {
    match status {
        400 => " (bad request)",
        401 => " (the token was refused: log in again)",
        402 => " (the slide quota is used up)",
        403 => " (forbidden)",
        404 => " (not found)",
        409 => " (already done)",
        410 => " (deleted)",
        412 => " (changed by another)",
        422 => " (invalid request)",
        429 => " (too many requests: try again later)",
        500..=599 => " (a fault of the platform: try again)",
        _ => "",
    }
}

impl ApiError {
    fn new(operation: &'static str, kind: Kind) -> Self {
        Self { operation, asked: None, kind: Box::new(kind), gave_up: None }
    }

    pub(crate) fn transport(operation: &'static str, source: TransportError) -> Self {
        Self::new(operation, Kind::Transport(source))
    }

    pub(crate) fn segment(operation: &'static str, name: &'static str) -> Self {
        Self::new(operation, Kind::Segment(name))
    }

    pub(crate) fn header(operation: &'static str, name: &str) -> Self {
        Self::new(operation, Kind::Header(name.to_owned()))
    }

    pub(crate) fn body(operation: &'static str, source: BodyError) -> Self {
        Self::new(operation, Kind::Body(source))
    }

    pub(crate) fn decode(operation: &'static str, source: DecodeError) -> Self {
        Self::new(operation, Kind::Decode(source))
    }

    pub(crate) fn refused(operation: &'static str, response: &ApiResponse) -> Self {
        let (details, snippet) = detail::read(response.body());
        // Our own transport writes the other form, a date, in seconds too.
        let retry_after =
            response.header("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        Self::new(operation, Kind::Refused { status: response.status(), details, snippet, retry_after })
    }

    pub(crate) fn to(self, asked: String) -> Self {
        Self { asked: Some(asked.into()), ..self }
    }

    /// Creates the error of an operation that was not sent, because the platform is unreachable: it is
    /// [transient](Self::is_transient).
    pub fn unreachable(operation: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::transport(operation, TransportError::unreachable(source))
    }

    /// Adds why the operation was not sent again, as a clause.
    #[must_use]
    pub fn with_reason_to_give_up(self, reason: impl Into<String>) -> Self {
        Self { gave_up: Some(reason.into().into()), ..self }
    }

    /// The operation that failed, as the OpenAPI document calls it.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The status that the platform answered with, if it refused.
    pub fn status(&self) -> Option<u16> {
        match *self.kind {
            Kind::Refused { status, .. } => Some(status),
            _ => None,
        }
    }

    /// What the platform has to say on its refusal, one problem each; empty if it says nothing that is understood.
    pub fn details(&self) -> &[ErrorDetail] {
        match &*self.kind {
            Kind::Refused { details, .. } => details,
            _ => &[],
        }
    }

    /// The beginning of a refusal that is not understood – of a proxy in between, say – without what could be a secret.
    pub fn snippet(&self) -> Option<&str> {
        match &*self.kind {
            Kind::Refused { snippet, .. } => snippet.as_deref(),
            _ => None,
        }
    }

    /// How long the platform asks to be left alone (RFC 9110, section 10.2.3), if it says so in seconds.
    pub fn retry_after(&self) -> Option<Duration> {
        match *self.kind {
            Kind::Refused { retry_after, .. } => retry_after,
            _ => None,
        }
    }

    fn is(&self, status: u16) -> bool {
        self.status() == Some(status)
    }

    /// The platform does not understand the request, or the request makes no sense (400).
    pub fn is_bad_request(&self) -> bool {
        self.is(400)
    }

    /// The token was refused, and another one too (401).
    pub fn is_unauthorized(&self) -> bool {
        self.is(401)
    }

    /// The slide quota of the organisation is used up (402).
    pub fn is_quota_exceeded(&self) -> bool {
        self.is(402)
    }

    /// The caller may not do this (403).
    pub fn is_forbidden(&self) -> bool {
        self.is(403)
    }

    /// There is no such thing, or none that the caller may see (404).
    pub fn is_not_found(&self) -> bool {
        self.is(404)
    }

    /// It was done before, such as a cancellation; or it cannot be done yet, such as a deletion of results while the run
    /// goes on (409).
    pub fn is_already_done(&self) -> bool {
        self.is(409)
    }

    /// It was there and is deleted (410).
    pub fn is_gone(&self) -> bool {
        self.is(410)
    }

    /// Somebody else has changed it since it was read (412).
    pub fn is_conflict(&self) -> bool {
        self.is(412)
    }

    /// The request is not of the form that the platform wants (422); [`details`](Self::details) say where.
    pub fn is_validation(&self) -> bool {
        self.is(422)
    }

    /// What the caller gave cannot be sent, such as an id that is empty. Nothing was.
    pub fn is_unsendable(&self) -> bool {
        matches!(*self.kind, Kind::Segment(_) | Kind::Header(_) | Kind::Body(_))
    }

    /// The same request may succeed later: the platform was not reached, or answered with a transient status
    /// ([`is_transient_status`]).
    pub fn is_transient(&self) -> bool {
        match &*self.kind {
            Kind::Refused { status, .. } => is_transient_status(*status),
            Kind::Transport(error) => matches!(error.reach, Reach::Nowhere | Reach::Unknown),
            _ => false,
        }
    }

    /// The platform may have received the request and acted on it, though it did not say so.
    pub fn is_uncertain(&self) -> bool {
        match &*self.kind {
            // Another success than the one that is declared is no refusal.
            Kind::Refused { status, .. } => *status >= 500 || (200..300).contains(status),
            Kind::Transport(error) => matches!(error.reach, Reach::Unknown | Reach::Answered),
            Kind::Decode(_) => true,
            _ => false,
        }
    }

    /// No byte of the request has left: the platform cannot have acted on it.
    pub fn is_unsent(&self) -> bool {
        match &*self.kind {
            Kind::Transport(error) => matches!(error.reach, Reach::Nowhere | Reach::Unsent),
            Kind::Segment(_) | Kind::Header(_) | Kind::Body(_) => true,
            Kind::Refused { .. } | Kind::Decode(_) => false,
        }
    }

    /// A blocking client was called inside an asynchronous runtime.
    #[cfg(feature = "http")]
    pub fn is_inside_runtime(&self) -> bool {
        matches!(&*self.kind, Kind::Transport(error) if error.source.is::<auth_http::InsideRuntime>())
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} failed: ", self.asked.as_deref().unwrap_or(self.operation))?;
        match &*self.kind {
            Kind::Transport(_) => formatter.write_str("no answer came"),
            Kind::Segment(name) => write!(formatter, "`{name}` cannot be empty, `.` or `..`"),
            Kind::Header(name) => write!(formatter, "the header `{name}` cannot be set for a call"),
            Kind::Body(_) => formatter.write_str("the request could not be written"),
            Kind::Refused { status, .. } => write!(formatter, "the platform answered {status}{}", hint(*status)),
            Kind::Decode(_) => formatter.write_str("the answer was not understood"),
        }?;
        self.gave_up.iter().try_for_each(|reason| write!(formatter, "; {reason}"))
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.kind {
            Kind::Transport(error) => Some(&*error.source),
            Kind::Body(error) => Some(error),
            Kind::Decode(error) => Some(error),
            Kind::Segment(_) | Kind::Header(_) | Kind::Refused { .. } => None,
        }
    }
}
