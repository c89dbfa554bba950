use std::fmt;
use std::time::Duration;

use auth_core::{Authority, BearerPolicy, TokenSource};

use reqwest::header::{AUTHORIZATION, HeaderValue};

use crate::request::Body;
use crate::{AuthorizedClient, BuildError, HttpError, Method, Request, Response};

/// The longest time to establish a connection, and the longest silence on one.
const DEFAULT_SILENCE: Duration = Duration::from_secs(30);

/// What the client calls itself.
const USER_AGENT: &str = concat!("aignostics-rust/", env!("CARGO_PKG_VERSION"));

/// Sends requests without credentials. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct HttpClient {
    inner: reqwest::Client,
    plain_loopback: bool,
}

impl HttpClient {
    /// Starts to set up a client.
    pub fn builder() -> HttpClientBuilder {
        HttpClientBuilder { plain_loopback: false, decompression: true }
    }

    /// The same connections for requests with bearer tokens of `tokens`, where `policy` lets them go.
    pub fn authorized(&self, policy: BearerPolicy, tokens: TokenSource) -> AuthorizedClient {
        AuthorizedClient::new(self.clone(), policy, tokens)
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
            // An invalid value is left to the builder, which refuses it.
            match HeaderValue::try_from(&value) {
                Ok(mut secret) if name.eq_ignore_ascii_case(AUTHORIZATION.as_str()) => {
                    secret.set_sensitive(true);
                    builder = builder.header(name, secret);
                }
                _ => builder = builder.header(name, value),
            }
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
            Method::Post => Self::POST,
            Method::Put => Self::PUT,
            Method::Head => Self::HEAD,
            Method::Delete => Self::DELETE,
        }
    }
}

/// Sets up an [`HttpClient`].
#[derive(Clone, Debug)]
pub struct HttpClientBuilder {
    plain_loopback: bool,
    decompression: bool,
}

impl HttpClientBuilder {
    /// Allows plain http to this machine, and uses no proxy at all: for emulators and tests.
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
    /// The system has no root certificates, which https needs. Where plain http to this machine is
    /// allowed, that is no error until somebody speaks https.
    pub fn build(self) -> Result<HttpClient, BuildError> {
        let built = match self.prepare().build() {
            Err(_) if self.plain_loopback => self.prepare().tls_certs_only([]).build(),
            built => built,
        };
        Ok(HttpClient { inner: built.map_err(BuildError)?, plain_loopback: self.plain_loopback })
    }

    fn prepare(&self) -> reqwest::ClientBuilder {
        let builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(DEFAULT_SILENCE)
            .read_timeout(DEFAULT_SILENCE)
            .gzip(self.decompression);
        if self.plain_loopback { builder.no_proxy() } else { builder }
    }
}
