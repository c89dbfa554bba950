use std::fmt;
use std::time::Duration;

use auth_core::{Authority, BearerPolicy};

use crate::request::Body;
use crate::{AuthorizedClient, BuildError, HttpError, Method, Request, Response};

/// The longest time to establish a connection, and the longest silence on one.
const DEFAULT_SILENCE: Duration = Duration::from_secs(30);

/// Sends requests without credentials. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct HttpClient {
    inner: reqwest::Client,
    plain_loopback: bool,
}

impl HttpClient {
    /// Starts to set up a client.
    pub fn builder() -> HttpClientBuilder {
        HttpClientBuilder {
            user_agent: concat!("aignostics-rust/", env!("CARGO_PKG_VERSION")).to_owned(),
            plain_loopback: false,
            decompression: true,
        }
    }

    /// The same connections for requests with the bearer token that `policy` gives out.
    pub fn authorized(&self, policy: BearerPolicy) -> AuthorizedClient {
        AuthorizedClient::new(self.clone(), policy)
    }

    /// Sends a request and returns the head of the answer, whatever its status.
    ///
    /// # Errors
    ///
    /// [`HttpError::is_insecure`] before anything is sent, or no answer came.
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let Request { method, url, headers, body, timeout } = request;
        if !Authority::of(&url).is_confidential(self.plain_loopback) {
            return Err(HttpError::insecure(method, &url));
        }
        let mut builder = self.inner.request(method.into(), url.clone());
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        builder = match body {
            Body::Empty => builder,
            Body::Bytes(bytes) => builder.body(bytes),
            Body::Stream(stream) => builder.body(reqwest::Body::wrap_stream(stream)),
        };
        if let Some(timeout) = timeout {
            builder = builder.timeout(timeout);
        }
        let response = builder.send().await.map_err(|source| HttpError::send(method, &url, source))?;
        tracing::debug!(%method, url = %crate::redacted(&url), status = response.status().as_u16(), "answered");
        Ok(Response::new(response, method, url))
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HttpClient").field("plain_loopback", &self.plain_loopback).finish_non_exhaustive()
    }
}

impl From<Method> for reqwest::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::GET,
            Method::Head => Self::HEAD,
            Method::Post => Self::POST,
            Method::Put => Self::PUT,
            Method::Delete => Self::DELETE,
        }
    }
}

/// Sets up an [`HttpClient`].
#[derive(Clone, Debug)]
pub struct HttpClientBuilder {
    user_agent: String,
    plain_loopback: bool,
    decompression: bool,
}

impl HttpClientBuilder {
    /// What the client calls itself.
    pub fn with_user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Allows plain http to this machine, and goes there without a proxy: for emulators and tests.
    pub fn with_plain_loopback(mut self) -> Self {
        self.plain_loopback = true;
        self
    }

    /// Returns bodies as they were sent: for files whose checksum is that of the stored bytes.
    pub fn without_decompression(mut self) -> Self {
        self.decompression = false;
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// The system has no root certificates, or the user agent is no header value.
    pub fn build(self) -> Result<HttpClient, BuildError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(self.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(DEFAULT_SILENCE)
            .read_timeout(DEFAULT_SILENCE)
            .gzip(self.decompression);
        if self.plain_loopback {
            builder = builder.no_proxy();
        }
        Ok(HttpClient { inner: builder.build().map_err(BuildError)?, plain_loopback: self.plain_loopback })
    }
}
