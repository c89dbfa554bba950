use std::fmt;
use std::time::{Duration, SystemTime};

use auth_core::is_transient_status;
use bytes::{Bytes, BytesMut};
use url::Url;

use crate::deadline::{Deadline, after, until};
use crate::{HttpError, Method, redacted};

/// The maximum pause from `Retry-After`. Longer ones are shortened to it.
pub(crate) const MAX_PAUSE: Duration = Duration::from_secs(366 * 24 * 3600);

/// A response whose head is available and whose body is read on demand.
pub struct Response {
    inner: reqwest::Response,
    method: Method,
    url: Url,
    /// The maximum inactivity on the connection.
    silence: Duration,
    deadline: Option<Deadline>,
}

impl Response {
    pub(crate) fn new(
        inner: reqwest::Response,
        method: Method,
        url: Url,
        silence: Duration,
        deadline: Option<Deadline>,
    ) -> Self {
        Self { inner, method, url, silence, deadline }
    }

    /// Returns the status code (RFC 9110, section 15). Redirects are returned, not followed.
    pub fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    /// Returns the first header of this name, if it is visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// Returns the names and values of all headers with a readable value.
    pub fn all_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let headers = self.inner.headers().iter();
        headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
    }

    /// Returns all headers of this name that are visible ASCII, in order.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.inner.headers().get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// Returns the server's time from `Date` (RFC 9110, section 6.6.1).
    ///
    /// `None` if the header is missing or invalid, or if `Age` shows that the response is from a cache.
    pub fn date(&self) -> Option<SystemTime> {
        if !self.headers("age").all(is_zero) {
            return None;
        }
        self.moment("date")
    }

    /// Returns the pause from `Retry-After` (RFC 9110, section 10.2.3). An HTTP date is relative to the server's
    /// `Date`, or to `now` without one. At most a year.
    pub fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        let seconds = self.header("retry-after")?.trim().parse().ok().map(Duration::from_secs);
        let until = || self.moment("retry-after")?.duration_since(self.date().unwrap_or(now)).ok();
        seconds.or_else(until).map(|pause| pause.min(MAX_PAUSE))
    }

    /// Returns true if the same request may succeed later, by its [status](is_transient_status).
    pub fn is_transient(&self) -> bool {
        is_transient_status(self.status())
    }

    fn moment(&self, name: &str) -> Option<SystemTime> {
        httpdate::parse_http_date(self.header(name)?).ok()
    }

    /// Returns the next chunk of the body, or `None` at the end.
    ///
    /// # Errors
    ///
    /// The connection failed, or was inactive for too long ([`HttpError::is_timeout`]).
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        let silent_at = after(self.silence);
        let deadline = self.deadline.filter(|deadline| deadline.end < silent_at);
        let end = deadline.map_or(silent_at, |deadline| deadline.end);
        match (until(end, self.inner.chunk()).await, deadline) {
            (Some(chunk), _) => chunk.map_err(|source| HttpError::body(self.method, &self.url, source)),
            (None, Some(Deadline { limit, .. })) => Err(HttpError::timed_out(self.method, &self.url, limit)),
            (None, None) => Err(HttpError::silent(self.method, &self.url, self.silence)),
        }
    }

    /// Returns the whole body of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// The connection failed, or the body exceeds the limit.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, HttpError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > limit {
                return Err(HttpError::too_large(self.method, &self.url, limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// Returns true for an `Age` of zero seconds (RFC 9111, section 5.1).
fn is_zero(age: &str) -> bool {
    age.trim().parse() == Ok(0_u64)
}

impl fmt::Debug for Response {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Response({} to {} {})", self.status(), self.method, redacted(&self.url))
    }
}
