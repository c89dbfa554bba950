pub(crate) mod masked;

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use auth_core::redacted_text;
use auth_http::{HttpError, Response};
use serde_json::Value;

/// The maximum size of a response, in bytes.
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;

/// A response of any status. Redirects are not followed. `Debug` does not show the body.
pub struct RawResponse {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    is_transient: bool,
    retry_after: Option<Duration>,
}

impl RawResponse {
    pub(crate) async fn of(response: Response, now: SystemTime) -> Result<Self, HttpError> {
        let headers = response.all_headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (status, is_transient, retry_after) =
            (response.status(), response.is_transient(), response.retry_after(now));
        let body = response.bytes(MAX_BODY_BYTES).await?.to_vec();
        Ok(Self { status, headers, body, is_transient, retry_after })
    }

    /// Returns the status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns true if a later request may get another response.
    pub(crate) fn is_transient(&self) -> bool {
        self.is_transient
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns true if the platform may have executed a request without confirming it: a server error, for example of a
    /// proxy that has forwarded the request.
    pub fn is_uncertain(&self) -> bool {
        self.status >= 500 || self.status == 408
    }

    /// Returns the headers with secrets masked: the queries of URLs, and cookies.
    pub fn masked_headers(&self) -> impl Iterator<Item = (&str, String)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), masked::header(name, value)))
    }

    /// Returns the headers.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the body with secrets masked, if it is text. See [`redacted_text`].
    pub fn masked_body(&self) -> Cow<'_, [u8]> {
        match std::str::from_utf8(&self.body) {
            Ok(text) => Cow::Owned(redacted_text(text).into_bytes()),
            Err(_) => Cow::Borrowed(&self.body),
        }
    }

    /// Returns the body, if it is JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Returns the body, if it is JSON, with the secrets of the platform masked: the fields that its document declares
    /// as secret (`x-sdk-secret`), those with credentials of OAuth, and what [`redacted_text`] masks in texts.
    pub fn masked_json(&self) -> Option<Value> {
        self.json().map(masked::json)
    }
}

impl fmt::Debug for RawResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RawResponse({}, {} bytes)", self.status, self.body.len())
    }
}
