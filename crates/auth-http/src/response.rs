use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use auth_core::is_transient_status;
use bytes::{Bytes, BytesMut};
use url::Url;

use crate::deadline::{Deadline, instant_after, run_until};
use crate::{HttpError, Method, redacted};

/// The maximum pause from `Retry-After`. Longer pauses are shortened to it.
pub(crate) const MAX_PAUSE: Duration = Duration::from_secs(366 * 24 * 3600);

/// An HTTP response. Its status and headers have arrived; its body is read on demand.
pub struct Response {
    inner: reqwest::Response,
    method: Method,
    url: Url,
    /// The maximum inactivity on the connection.
    read_timeout: Duration,
    deadline: Option<Deadline>,
    /// True if no proxy was used.
    is_direct: bool,
}

impl Response {
    pub(crate) fn new(
        inner: reqwest::Response,
        method: Method,
        url: Url,
        read_timeout: Duration,
        deadline: Option<Deadline>,
        is_direct: bool,
    ) -> Self {
        Self { inner, method, url, read_timeout, deadline, is_direct }
    }

    /// Returns the address of the server, or `None` if the request was sent through a proxy.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.inner.remote_addr().filter(|_| self.is_direct)
    }

    /// Returns the status code (RFC 9110, section 15). Redirects are not followed, so it may be a redirect status.
    pub fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    /// Returns the value of the first header with this name, or `None` if it is missing or not visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// Returns the names and values of all headers whose values are visible ASCII.
    pub fn all_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let headers = self.inner.headers().iter();
        headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
    }

    /// Returns the values of all headers with this name that are visible ASCII, in order.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.inner.headers().get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// Returns the time of the server from the header `Date` (RFC 9110, section 6.6.1).
    ///
    /// Returns `None` if the header is missing or invalid, or if a header `Age` shows that the response comes from a
    /// cache.
    pub fn date(&self) -> Option<SystemTime> {
        if !self.headers("age").all(is_zero_age) {
            return None;
        }
        self.time_header("date")
    }

    /// Returns the pause that the server requests with `Retry-After` (RFC 9110, section 10.2.3), but at most one year.
    /// If the header contains a date, the pause is counted from the `Date` of the response, or else from `now`.
    pub fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        let seconds = self.header("retry-after")?.trim().parse().ok().map(Duration::from_secs);
        let until_date = || self.time_header("retry-after")?.duration_since(self.date().unwrap_or(now)).ok();
        seconds.or_else(until_date).map(|pause| pause.min(MAX_PAUSE))
    }

    /// Returns true if the [status](is_transient_status) shows that the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        is_transient_status(self.status())
    }

    /// Returns the time in the header `name`.
    fn time_header(&self, name: &str) -> Option<SystemTime> {
        httpdate::parse_http_date(self.header(name)?).ok()
    }

    /// Returns the next chunk of the body, or `None` at the end.
    ///
    /// # Errors
    ///
    /// The connection failed, or was inactive for too long, or the timeout of the request ended
    /// ([`HttpError::is_timeout`]).
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        let inactive_at = instant_after(self.read_timeout);
        let deadline = self.deadline.filter(|deadline| deadline.end < inactive_at);
        let end = deadline.map_or(inactive_at, |deadline| deadline.end);
        match (run_until(end, self.inner.chunk()).await, deadline) {
            (Some(chunk), _) => chunk.map_err(|source| HttpError::body(self.method, &self.url, source)),
            (None, Some(Deadline { timeout, .. })) => Err(HttpError::timed_out(self.method, &self.url, timeout)),
            (None, None) => Err(HttpError::inactive(self.method, &self.url, self.read_timeout)),
        }
    }

    /// Returns the whole body.
    ///
    /// # Errors
    ///
    /// The errors of [`chunk`](Self::chunk), or the body is larger than `limit` bytes ([`HttpError::is_too_large`]).
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
fn is_zero_age(age: &str) -> bool {
    age.trim().parse() == Ok(0_u64)
}

impl fmt::Debug for Response {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Response({} to {} {})", self.status(), self.method, redacted(&self.url))
    }
}
