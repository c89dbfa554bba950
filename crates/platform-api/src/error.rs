use auth_http::HttpError;

use crate::{BodyError, DecodeError, JsonValue};

/// Why an operation brought no answer. It names the operation and, where there was one, the status;
/// bodies and secrets stay out of its `Display`.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed: {kind}")]
pub struct ApiError {
    operation: &'static str,
    kind: Kind,
    #[source]
    source: Option<Source>,
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("no answer came")]
    NoAnswer,
    #[error("`{0}` cannot be empty, `.` or `..`")]
    Segment(&'static str),
    #[error("the request could not be written")]
    Body,
    #[error("the platform answered {status}{}", hint(*.status))]
    Status { status: u16, detail: Vec<String> },
    #[error("the answer was not understood")]
    Decode,
}

#[derive(Debug, thiserror::Error)]
enum Source {
    #[error(transparent)]
    Http(HttpError),
    #[error(transparent)]
    Body(BodyError),
    #[error(transparent)]
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
        500..=599 => " (a fault of the platform: try again)",
        _ => "",
    }
}

impl ApiError {
    pub(crate) fn http(operation: &'static str, source: HttpError) -> Self {
        Self { operation, kind: Kind::NoAnswer, source: Some(Source::Http(source)) }
    }

    pub(crate) fn segment(operation: &'static str, name: &'static str) -> Self {
        Self { operation, kind: Kind::Segment(name), source: None }
    }

    pub(crate) fn body(operation: &'static str, source: BodyError) -> Self {
        Self { operation, kind: Kind::Body, source: Some(Source::Body(source)) }
    }

    pub(crate) fn decode(operation: &'static str, source: DecodeError) -> Self {
        Self { operation, kind: Kind::Decode, source: Some(Source::Decode(source)) }
    }

    pub(crate) fn status_of(operation: &'static str, status: u16, body: &[u8]) -> Self {
        Self { operation, kind: Kind::Status { status, detail: details(body) }, source: None }
    }

    /// The operation that failed, as the OpenAPI document calls it.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The status that the platform answered with, if it answered.
    pub fn status(&self) -> Option<u16> {
        match self.kind {
            Kind::Status { status, .. } => Some(status),
            _ => None,
        }
    }

    /// What the platform has to say on its refusal, one problem each; empty if it says nothing.
    pub fn details(&self) -> &[String] {
        match &self.kind {
            Kind::Status { detail, .. } => detail,
            _ => &[],
        }
    }

    /// There is no such thing, or none that the caller may see (404).
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// The same request may well succeed later: the platform was not reached, is at fault, or has
    /// too much to do (429).
    pub fn is_transient(&self) -> bool {
        match (&self.kind, &self.source) {
            (Kind::Status { status, .. }, _) => *status == 429 || *status >= 500,
            (_, Some(Source::Http(source))) => source.is_broken(),
            _ => false,
        }
    }

    /// The platform may have received the request and acted on it, though it did not say so.
    pub fn is_uncertain(&self) -> bool {
        match (&self.kind, &self.source) {
            (Kind::Status { status, .. }, _) => *status >= 500,
            (_, Some(Source::Http(source))) => source.is_broken() && !source.is_connect(),
            (_, Some(Source::Decode(_))) => true,
            _ => false,
        }
    }
}

/// The problems in a `detail`: one text, or a list with a place and a message each.
fn details(body: &[u8]) -> Vec<String> {
    let detail =
        serde_json::from_slice::<JsonValue>(body).ok().and_then(|mut body| body.get_mut("detail").map(JsonValue::take));
    match detail {
        Some(JsonValue::String(text)) => vec![text],
        Some(JsonValue::Array(problems)) => problems.iter().filter_map(problem).collect(),
        _ => Vec::new(),
    }
}

fn problem(problem: &JsonValue) -> Option<String> {
    let place = problem.get("loc")?.as_array()?.iter().map(|step| match step {
        JsonValue::String(name) => name.clone(),
        other => other.to_string(),
    });
    let place: Vec<_> = place.collect();
    Some(format!("{}: {}", place.join("."), problem.get("msg")?.as_str()?))
}
