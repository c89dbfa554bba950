//! Responses that a fault creates or changes.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};

use crate::fault::Effect;
use crate::storage;

/// Returns the response that the client gets instead of the response of the server, or `None` if the effect does not
/// replace the response.
pub(super) fn replacement(effect: &Effect, now: Timestamp) -> Option<Response> {
    match effect {
        Effect::Status { status, body } => Some(status_response(*status, body.clone())),
        Effect::Throttle { status, retry_after_seconds, as_date } => {
            Some(throttled_response(*status, *retry_after_seconds, as_date.then_some(now)))
        }
        Effect::ExpiredSignature => Some(storage::StorageError::expired().into_response()),
        // The connection ends before this response is sent.
        Effect::ResetRequest { after_bytes: 0 } => Some(StatusCode::SERVICE_UNAVAILABLE.into_response()),
        _ => None,
    }
}

fn status_response(status: u16, body: Option<String>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match body {
        Some(body) if serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok() => {
            (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        body => (status, body.unwrap_or_default()).into_response(),
    }
}

/// Returns a response with `Retry-After` as a number, or as a date relative to `date_base` (RFC 9110, section 10.2.3).
fn throttled_response(status: u16, seconds: u64, date_base: Option<Timestamp>) -> Response {
    let wait = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    let value = match date_base {
        Some(now) => storage::http_date(now.saturating_add(wait).unwrap_or(now)),
        None => seconds.to_string(),
    };
    let mut response = status_response(status, None);
    if let Ok(value) = HeaderValue::from_str(&value) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// Changes `bytes 5-9/10` to `bytes 6-10/10`.
pub(super) fn shift_content_range(headers: &mut HeaderMap) {
    let shifted = headers.get(header::CONTENT_RANGE).and_then(|value| {
        let (range, size) = value.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        HeaderValue::from_str(&format!("bytes {}-{}/{size}", first + 1, last + 1)).ok()
    });
    if let Some(shifted) = shifted {
        headers.insert(header::CONTENT_RANGE, shifted);
    }
}
