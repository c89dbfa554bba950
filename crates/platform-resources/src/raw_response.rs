pub(crate) mod masked;

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use auth_core::redacted_text;
use auth_http::{HttpError, Response};
use serde_json::Value;

/// The maximum size of a response, in bytes.
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;

/// A response with any status. Redirects are not followed. The `Debug` output does not contain the body.
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

    /// Returns the HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns true if the status is that of a transient failure.
    pub(crate) fn is_transient(&self) -> bool {
        self.is_transient
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns true if the platform may have executed the request without confirming it. This is the case for 408, and
    /// for server errors, because a proxy may have forwarded the request.
    pub fn is_uncertain(&self) -> bool {
        self.status >= 500 || self.status == 408
    }

    /// Returns the headers with secrets masked, such as cookies and the queries of URLs.
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

    /// Returns the body. If it is text, secrets are masked by [`redacted_text`].
    pub fn masked_body(&self) -> Cow<'_, [u8]> {
        match std::str::from_utf8(&self.body) {
            Ok(text) => Cow::Owned(redacted_text(text).into_bytes()),
            Err(_) => Cow::Borrowed(&self.body),
        }
    }

    /// Returns the text of the status line and the headers, with secrets masked unless `with_secrets`.
    pub fn head(&self, with_secrets: bool) -> String {
        let mut head = format!("HTTP {}", self.status);
        for (name, value) in &self.headers {
            let value = if with_secrets { Cow::Borrowed(value) } else { Cow::Owned(masked::header(name, value)) };
            head.push_str(&format!("\n{name}: {value}"));
        }
        head
    }

    /// Returns the address of a redirect, with secrets masked unless `with_secrets`.
    pub fn location(&self, with_secrets: bool) -> Option<String> {
        let (name, url) = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("location"))?;
        Some(if with_secrets { url.clone() } else { masked::header(name, url) })
    }

    /// Returns the body, if it is JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Returns the body if it is JSON, with secrets masked: fields that the platform's OpenAPI document declares as
    /// secret (`x-sdk-secret`), fields with OAuth credentials, and secrets in texts (see [`redacted_text`]).
    pub fn masked_json(&self) -> Option<Value> {
        self.json().map(masked::json)
    }
}

impl fmt::Debug for RawResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RawResponse({}, {} bytes)", self.status, self.body.len())
    }
}
