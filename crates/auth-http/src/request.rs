use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{BoxStream, StreamExt};
use url::Url;

use crate::redacted;

/// An HTTP method (RFC 9110, section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variants are the methods of RFC 9110")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        })
    }
}

/// An HTTP request. `Debug` shows no headers, no body and no URL query.
pub struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
    pub(crate) timeout: Option<Duration>,
    /// The maximum inactivity until the response arrives, if it differs from that of the client.
    pub(crate) read_timeout: Option<Duration>,
}

pub(crate) enum Body {
    Empty,
    Bytes(Bytes),
    Stream(BoxStream<'static, io::Result<Bytes>>),
}

impl Request {
    /// Creates a request without a body.
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: Vec::new(), body: Body::Empty, timeout: None, read_timeout: None }
    }

    /// Creates a GET request.
    pub fn get(url: Url) -> Self {
        Self::new(Method::Get, url)
    }

    /// Adds a header.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body to `bytes`, with the content type `content_type`.
    pub fn with_body(mut self, content_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        self.body = Body::Bytes(bytes.into());
        self.with_header("content-type", content_type)
    }

    /// Sets the body to `bytes`, without a content type.
    pub fn with_bytes(mut self, bytes: impl Into<Bytes>) -> Self {
        self.body = Body::Bytes(bytes.into());
        self
    }

    /// Sets the body to a stream of `length` bytes. Such a request can be sent only once.
    pub fn with_stream(mut self, length: u64, stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        self.body = Body::Stream(stream.boxed());
        self.with_header("content-length", length.to_string())
    }

    /// Sets the maximum duration of the whole request, until the end of the response body. By default, there is no such
    /// limit, and only inactivity is limited, because large bodies take long.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the maximum inactivity until the response head arrives, replacing that of the
    /// [client](crate::HttpClientBuilder::with_read_timeout). For the response body, the value of the client applies.
    pub fn with_read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = Some(timeout);
        self
    }

    /// Returns a copy of the request, or `None` if its body is a stream, which cannot be copied.
    pub(crate) fn try_clone(&self) -> Option<Self> {
        let body = match &self.body {
            Body::Empty => Body::Empty,
            Body::Bytes(bytes) => Body::Bytes(bytes.clone()),
            Body::Stream(_) => return None,
        };
        Some(Self {
            method: self.method,
            url: self.url.clone(),
            headers: self.headers.clone(),
            body,
            timeout: self.timeout,
            read_timeout: self.read_timeout,
        })
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Request({} {})", self.method, redacted(&self.url))
    }
}
