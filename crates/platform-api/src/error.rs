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
    /// The method and the path; `None` if no request was created.
    target: Option<Box<str>>,
    kind: Box<Kind>,
    /// The reason why the request was not retried, or not retried again.
    no_retry_reason: Option<Box<str>>,
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
    fn new(operation: &'static str, kind: Kind) -> Self {
        Self { operation, target: None, kind: Box::new(kind), no_retry_reason: None }
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
        // `AuthorizedClient` converts a date to seconds before. Other transports may keep a date, which is ignored.
        let retry_after =
            response.header("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        Self::new(operation, Kind::Refused { status: response.status(), details, snippet, retry_after })
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

    /// Returns the status of the platform's response, or `None` if the operation failed for another reason than an
    /// unexpected status.
    pub fn status(&self) -> Option<u16> {
        match *self.kind {
            Kind::Refused { status, .. } => Some(status),
            _ => None,
        }
    }

    /// Returns the problems in an error response. The list is empty if the response has another format.
    pub fn details(&self) -> &[ErrorDetail] {
        match &*self.kind {
            Kind::Refused { details, .. } => details,
            _ => &[],
        }
    }

    /// Returns the start of an error response in an unknown format, such as that of a proxy, without possible secrets.
    pub fn snippet(&self) -> Option<&str> {
        match &*self.kind {
            Kind::Refused { snippet, .. } => snippet.as_deref(),
            _ => None,
        }
    }

    /// Returns the `Retry-After` of the response (RFC 9110, section 10.2.3), or `None` if it is missing or not a number of
    /// seconds.
    pub fn retry_after(&self) -> Option<Duration> {
        match *self.kind {
            Kind::Refused { retry_after, .. } => retry_after,
            _ => None,
        }
    }

    fn is(&self, status: u16) -> bool {
        self.status() == Some(status)
    }

    /// Returns true if the payload violates a rule of the platform (400).
    pub fn is_bad_request(&self) -> bool {
        self.is(400)
    }

    /// Returns true if the token and its replacement were rejected (401).
    pub fn is_unauthorized(&self) -> bool {
        self.is(401)
    }

    /// Returns true if the slide quota of the organization is exhausted (402).
    pub fn is_quota_exceeded(&self) -> bool {
        self.is(402)
    }

    /// Returns true if the caller lacks the permission (403).
    pub fn is_forbidden(&self) -> bool {
        self.is(403)
    }

    /// Returns true if the resource does not exist or is not visible to the caller (404).
    pub fn is_not_found(&self) -> bool {
        self.is(404)
    }

    /// Returns true if the state of the resource does not permit the change (409). For example, the run was canceled
    /// before, or the results of a run cannot be deleted because it is not terminated.
    pub fn is_already_done(&self) -> bool {
        self.is(409)
    }

    /// Returns true if the resource was deleted (410).
    pub fn is_gone(&self) -> bool {
        self.is(410)
    }

    /// Returns true if the resource was changed since it was read (412).
    pub fn is_conflict(&self) -> bool {
        self.is(412)
    }

    /// Returns true if the platform rejected the request because there were too many (429). The request had no effect.
    pub fn is_throttled(&self) -> bool {
        self.is(429)
    }

    /// Returns true if the request is malformed (422). [`details`](Self::details) contains the locations in the request.
    pub fn is_validation(&self) -> bool {
        self.is(422)
    }

    /// Returns true if an argument is invalid, such as an empty id. Nothing was sent.
    pub fn is_unsendable(&self) -> bool {
        matches!(*self.kind, Kind::Segment(_) | Kind::Header(_) | Kind::Body(_))
    }

    /// Returns true if the same request may succeed later: the platform was not reached, or the status of the response is
    /// transient ([`is_transient_status`]).
    pub fn is_transient(&self) -> bool {
        match &*self.kind {
            Kind::Refused { status, .. } => is_transient_status(*status),
            Kind::Transport(error) => matches!(error.progress, Progress::Unreachable | Progress::Unknown),
            _ => false,
        }
    }

    /// Returns true if the platform may have executed the request without confirming it.
    pub fn is_uncertain(&self) -> bool {
        match &*self.kind {
            // A success status other than the declared one may mean that the request was executed. A proxy may respond with
            // 408 after it has forwarded the request.
            Kind::Refused { status, .. } => *status >= 500 || *status == 408 || (200..300).contains(status),
            Kind::Transport(error) => matches!(error.progress, Progress::Unknown | Progress::Answered),
            Kind::Decode(_) => true,
            _ => false,
        }
    }

    /// Returns true if no byte of the request was sent, so that the platform cannot have executed it.
    pub fn is_unsent(&self) -> bool {
        match &*self.kind {
            Kind::Transport(error) => matches!(error.progress, Progress::Unreachable | Progress::Unsent),
            Kind::Segment(_) | Kind::Header(_) | Kind::Body(_) => true,
            Kind::Refused { .. } | Kind::Decode(_) => false,
        }
    }

    /// Returns true if a blocking client was called inside an asynchronous runtime. Nothing was sent.
    #[cfg(feature = "http")]
    pub fn is_inside_runtime(&self) -> bool {
        matches!(&*self.kind, Kind::Transport(error) if error.source.is::<auth_http::InsideRuntime>())
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} failed: ", self.target.as_deref().unwrap_or(self.operation))?;
        match &*self.kind {
            Kind::Transport(_) => formatter.write_str("no response"),
            Kind::Segment(name) => write!(formatter, "`{name}` cannot be empty, `.` or `..`"),
            Kind::Header(name) => write!(formatter, "the header `{name}` cannot be set for a call"),
            Kind::Body(_) => formatter.write_str("cannot serialize the request"),
            Kind::Refused { status, .. } => write!(formatter, "the platform responded with {status}{}", hint(*status)),
            Kind::Decode(_) => formatter.write_str("invalid response"),
        }?;
        self.no_retry_reason.iter().try_for_each(|reason| write!(formatter, "; {reason}"))
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
