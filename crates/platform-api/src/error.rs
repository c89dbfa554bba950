use std::error::Error;
use std::fmt;
use std::time::Duration;

use auth_core::is_transient_status;

use crate::transport::{Progress, TransportError};
use crate::{ApiResponse, BodyError, DecodeError, ErrorDetail, detail};

/// The error of an operation. `Display` shows the method, the path and the status of the response, if any. It shows no
/// body and no secret.
#[derive(Debug)]
pub struct ApiError {
    operation: &'static str,
    /// The method and the path, if a request was created.
    asked: Option<Box<str>>,
    kind: Box<Kind>,
    /// The reason why the request was not retried, or no longer.
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
        // The project's own transport converts the date form to seconds.
        let retry_after =
            response.header("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        Self::new(operation, Kind::Refused { status: response.status(), details, snippet, retry_after })
    }

    pub(crate) fn to(self, asked: String) -> Self {
        Self { asked: Some(asked.into()), ..self }
    }

    /// Creates the error of an operation that was not sent because the platform is unreachable. It is
    /// [transient](Self::is_transient).
    pub fn unreachable(operation: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::transport(operation, TransportError::unreachable(source))
    }

    /// Adds the reason why the operation was not retried, as a clause.
    #[must_use]
    pub fn with_reason_to_give_up(self, reason: impl Into<String>) -> Self {
        Self { gave_up: Some(reason.into().into()), ..self }
    }

    /// Returns the operation id in the OpenAPI document.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// Returns the error status of the platform's response, if any.
    pub fn status(&self) -> Option<u16> {
        match *self.kind {
            Kind::Refused { status, .. } => Some(status),
            _ => None,
        }
    }

    /// Returns the problems that the error response lists; empty if it has none in a known form.
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

    /// Returns the `Retry-After` of the response (RFC 9110, section 10.2.3), if it is stated in seconds.
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

    /// Returns true if the state of the resource does not permit the change (409): it was made before, such as a
    /// cancellation, or it cannot be made yet, such as the deletion of results before the run is terminated.
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

    /// Returns true if there were too many requests (429). This one was refused before it was processed, so that it had no
    /// effect.
    pub fn is_throttled(&self) -> bool {
        self.is(429)
    }

    /// Returns true if the request is malformed (422). [`details`](Self::details) has the locations.
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
            // An undeclared success status does not mean that the request was refused. A proxy can answer 408 after it has
            // forwarded the request.
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

    /// Returns true if a blocking client was called inside an asynchronous runtime.
    #[cfg(feature = "http")]
    pub fn is_inside_runtime(&self) -> bool {
        matches!(&*self.kind, Kind::Transport(error) if error.source.is::<auth_http::InsideRuntime>())
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} failed: ", self.asked.as_deref().unwrap_or(self.operation))?;
        match &*self.kind {
            Kind::Transport(_) => formatter.write_str("no response"),
            Kind::Segment(name) => write!(formatter, "`{name}` cannot be empty, `.` or `..`"),
            Kind::Header(name) => write!(formatter, "the header `{name}` cannot be set for a call"),
            Kind::Body(_) => formatter.write_str("cannot serialize the request"),
            Kind::Refused { status, .. } => write!(formatter, "the platform responded with {status}{}", hint(*status)),
            Kind::Decode(_) => formatter.write_str("invalid response"),
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
