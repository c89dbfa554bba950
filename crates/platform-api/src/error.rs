use std::error::Error;
use std::fmt;
use std::time::Duration;

use auth_core::is_transient_status;

use crate::transport::{Progress, TransportError};
use crate::{ApiResponse, BodyError, DecodeError, ErrorDetail, detail};

/// The error of an operation. `Display` shows the method, the path and, if there was a response, its status. It shows
/// neither the body nor secrets.
#[derive(Debug)]
pub struct ApiError {
    operation: &'static str,
    /// The method and the path, or `None` if no request was created.
    target: Option<Box<str>>,
    kind: Box<ErrorKind>,
    /// The reason why the request was not retried further.
    no_retry_reason: Option<Box<str>>,
}

#[derive(Debug)]
enum ErrorKind {
    Transport(TransportError),
    InvalidSegment(&'static str),
    ReservedHeader(String),
    UnserializableBody(BodyError),
    ErrorResponse { status: u16, details: Vec<ErrorDetail>, snippet: Option<String>, retry_after: Option<Duration> },
    Decode(DecodeError),
}

fn status_hint(status: u16) -> &'static str {
    match status {
        400 => " (bad request)",
        401 => " (the token was refused: log in again)",
        402 => " (the slide quota is exhausted)",
        403 => " (forbidden)",
        404 => " (not found)",
        409 => " (conflict)",
        410 => " (deleted)",
        412 => " (changed concurrently)",
        422 => " (invalid request)",
        429 => " (too many requests: try again later)",
        500..=599 => " (platform error: try again)",
        _ => "",
    }
}

impl ApiError {
    fn new(operation: &'static str, kind: ErrorKind) -> Self {
        Self { operation, target: None, kind: Box::new(kind), no_retry_reason: None }
    }

    pub(crate) fn transport(operation: &'static str, source: TransportError) -> Self {
        Self::new(operation, ErrorKind::Transport(source))
    }

    pub(crate) fn invalid_segment(operation: &'static str, name: &'static str) -> Self {
        Self::new(operation, ErrorKind::InvalidSegment(name))
    }

    pub(crate) fn reserved_header(operation: &'static str, name: &str) -> Self {
        Self::new(operation, ErrorKind::ReservedHeader(name.to_owned()))
    }

    pub(crate) fn unserializable_body(operation: &'static str, source: BodyError) -> Self {
        Self::new(operation, ErrorKind::UnserializableBody(source))
    }

    pub(crate) fn decode(operation: &'static str, source: DecodeError) -> Self {
        Self::new(operation, ErrorKind::Decode(source))
    }

    pub(crate) fn error_response(operation: &'static str, response: &ApiResponse) -> Self {
        let (details, snippet) = detail::parse(response.body());
        // `AuthorizedClient` has converted a date to seconds. A date from another transport is ignored.
        let retry_after =
            response.header("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        Self::new(operation, ErrorKind::ErrorResponse { status: response.status(), details, snippet, retry_after })
    }

    pub(crate) fn with_target(self, target: String) -> Self {
        Self { target: Some(target.into()), ..self }
    }

    /// Creates the error for an operation that was not sent because the platform is unreachable. The error is
    /// [transient](Self::is_transient).
    pub fn unreachable(operation: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::transport(operation, TransportError::unreachable(source))
    }

    /// Adds the reason why the operation was not retried. `Display` appends the text to the message after a semicolon.
    #[must_use]
    pub fn with_exhaustion_reason(self, reason: impl Into<String>) -> Self {
        Self { no_retry_reason: Some(reason.into().into()), ..self }
    }

    /// Returns the operation id in the OpenAPI document.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// Returns the status of the error response, or `None` if the operation failed for another reason.
    pub fn status(&self) -> Option<u16> {
        match *self.kind {
            ErrorKind::ErrorResponse { status, .. } => Some(status),
            _ => None,
        }
    }

    /// Returns the problems in an error response. The list is empty if the response has another format.
    pub fn details(&self) -> &[ErrorDetail] {
        match &*self.kind {
            ErrorKind::ErrorResponse { details, .. } => details,
            _ => &[],
        }
    }

    /// Returns the start of an error response with an unknown format, such as a response of a proxy, without possible
    /// secrets.
    pub fn snippet(&self) -> Option<&str> {
        match &*self.kind {
            ErrorKind::ErrorResponse { snippet, .. } => snippet.as_deref(),
            _ => None,
        }
    }

    /// Returns the `Retry-After` of the response (RFC 9110, section 10.2.3), or `None` if it is missing or not a number
    /// of seconds.
    pub fn retry_after(&self) -> Option<Duration> {
        match *self.kind {
            ErrorKind::ErrorResponse { retry_after, .. } => retry_after,
            _ => None,
        }
    }

    fn has_status(&self, status: u16) -> bool {
        self.status() == Some(status)
    }

    /// Returns true if the payload violates a rule of the platform (400).
    pub fn is_bad_request(&self) -> bool {
        self.has_status(400)
    }

    /// Returns true if the token and its replacement were rejected (401).
    pub fn is_unauthorized(&self) -> bool {
        self.has_status(401)
    }

    /// Returns true if the slide quota of the organization is exhausted (402).
    pub fn is_quota_exceeded(&self) -> bool {
        self.has_status(402)
    }

    /// Returns true if the caller lacks the permission (403).
    pub fn is_forbidden(&self) -> bool {
        self.has_status(403)
    }

    /// Returns true if the resource does not exist or is not visible to the caller (404).
    pub fn is_not_found(&self) -> bool {
        self.has_status(404)
    }

    /// Returns true if the state of the resource does not permit the change (409). For example, the run is already
    /// canceled, or its results cannot be deleted because it is not terminated.
    pub fn is_already_done(&self) -> bool {
        self.has_status(409)
    }

    /// Returns true if the resource was deleted (410).
    pub fn is_gone(&self) -> bool {
        self.has_status(410)
    }

    /// Returns true if the resource has changed since it was read (412).
    pub fn is_conflict(&self) -> bool {
        self.has_status(412)
    }

    /// Returns true if the platform rejected the request because there were too many (429). The request had no effect.
    pub fn is_throttled(&self) -> bool {
        self.has_status(429)
    }

    /// Returns true if the request is malformed (422). [`details`](Self::details) contains the locations in the
    /// request.
    pub fn is_validation(&self) -> bool {
        self.has_status(422)
    }

    /// Returns true if an argument is invalid, such as an empty id. Nothing was sent.
    pub fn is_unsendable(&self) -> bool {
        matches!(
            *self.kind,
            ErrorKind::InvalidSegment(_) | ErrorKind::ReservedHeader(_) | ErrorKind::UnserializableBody(_)
        )
    }

    /// Returns true if the same request may succeed later: the platform was not reached, or the status of the response
    /// is transient ([`is_transient_status`]).
    pub fn is_transient(&self) -> bool {
        match &*self.kind {
            ErrorKind::ErrorResponse { status, .. } => is_transient_status(*status),
            ErrorKind::Transport(error) => matches!(error.progress, Progress::Unreachable | Progress::Unknown),
            _ => false,
        }
    }

    /// Returns true if the platform may have executed the request without confirming it.
    pub fn is_uncertain(&self) -> bool {
        match &*self.kind {
            // After an undeclared success status, the request may have been executed. A proxy may respond with 408
            // after it has forwarded the request.
            ErrorKind::ErrorResponse { status, .. } => *status >= 500 || *status == 408 || (200..300).contains(status),
            ErrorKind::Transport(error) => matches!(error.progress, Progress::Unknown | Progress::Responded),
            ErrorKind::Decode(_) => true,
            _ => false,
        }
    }

    /// Returns true if no byte of the request was sent. The platform cannot have executed the request.
    pub fn is_unsent(&self) -> bool {
        match &*self.kind {
            ErrorKind::Transport(error) => matches!(error.progress, Progress::Unreachable | Progress::Unsent),
            ErrorKind::InvalidSegment(_) | ErrorKind::ReservedHeader(_) | ErrorKind::UnserializableBody(_) => true,
            ErrorKind::ErrorResponse { .. } | ErrorKind::Decode(_) => false,
        }
    }

    /// Returns true if a blocking client was called inside an asynchronous runtime. Nothing was sent.
    #[cfg(feature = "http")]
    pub fn is_inside_runtime(&self) -> bool {
        matches!(&*self.kind, ErrorKind::Transport(error) if error.source.is::<auth_http::InsideRuntimeError>())
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} failed: ", self.target.as_deref().unwrap_or(self.operation))?;
        match &*self.kind {
            ErrorKind::Transport(_) => formatter.write_str("no response"),
            ErrorKind::InvalidSegment(name) => write!(formatter, "`{name}` cannot be empty, `.` or `..`"),
            ErrorKind::ReservedHeader(name) => write!(formatter, "the header `{name}` cannot be set for a call"),
            ErrorKind::UnserializableBody(_) => formatter.write_str("cannot serialize the request"),
            ErrorKind::ErrorResponse { status, .. } => {
                write!(formatter, "the platform responded with {status}{}", status_hint(*status))
            }
            ErrorKind::Decode(_) => formatter.write_str("invalid response"),
        }?;
        self.no_retry_reason.iter().try_for_each(|reason| write!(formatter, "; {reason}"))
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.kind {
            ErrorKind::Transport(error) => Some(&*error.source),
            ErrorKind::UnserializableBody(error) => Some(error),
            ErrorKind::Decode(error) => Some(error),
            ErrorKind::InvalidSegment(_) | ErrorKind::ReservedHeader(_) | ErrorKind::ErrorResponse { .. } => None,
        }
    }
}
