use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use auth_core::{Authority, Secret};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use tokio::sync::Notify;

use crate::certificate::thumbprint;
use crate::deadline::{self, Deadline, after, until};
use crate::pools::Pools;
use crate::proxy::{Proxy, Route};
use crate::request::Body;
use crate::resolver::{Adapter, Resolver};
use crate::retry::{Attempts, Hosts, RetryPolicy};
use crate::roots::Roots;
use crate::{BuildError, HttpError, Method, Request, Response};

/// The default timeout for connecting and for inactivity on a connection. The HTTP library counts the time to send a
/// body as inactivity, so inactivity is monitored here.
const SILENCE: Duration = Duration::from_secs(30);

/// Chunk size for larger bodies. Each chunk counts as activity, and fits into the buffers of a connection.
const PIECE: usize = 64 * 1024;

/// The `User-Agent` header.
const USER_AGENT: &str = concat!("aignostics-rust/", env!("CARGO_PKG_VERSION"));

/// An HTTP client without credentials. Clones are cheap and share connections. Each runtime has its own connections,
/// because a connection ends with the runtime that opened it.
#[derive(Clone)]
pub struct HttpClient {
    pools: Pools,
    plain_loopback: bool,
    hosts: Hosts,
    about: Arc<About>,
}

/// Settings that errors report.
struct About {
    route: Route,
    /// Root certificate files in addition to the system's roots.
    roots: Vec<PathBuf>,
    /// The maximum inactivity on a connection.
    silence: Duration,
    /// The thumbprint of the client certificate.
    certificate: Option<String>,
}

impl HttpClient {
    /// Returns a builder with default settings.
    pub fn builder() -> HttpClientBuilder {
        HttpClientBuilder {
            plain_loopback: false,
            decompression: true,
            http1: false,
            hosts: Hosts::new(),
            resolver: None,
            silence: SILENCE,
            roots: Vec::new(),
            proxy: None,
            certificate: None,
        }
    }

    /// Returns the thumbprint of the client certificate (`x5t#S256`; RFC 8705, section 3.1).
    pub fn certificate_thumbprint(&self) -> Option<&str> {
        self.about.certificate.as_deref()
    }

    /// Starts the attempts of one request to the host of `url`. They share a circuit breaker with all clones of this
    /// client and with clients built with the same [`Hosts`].
    pub fn attempts(&self, url: &url::Url, policy: &RetryPolicy) -> Attempts {
        self.hosts.attempts(url, policy)
    }

    /// Returns the circuit breakers, one per host.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Sends a request and returns the response head, whatever its status.
    ///
    /// # Errors
    ///
    /// [`HttpError::is_insecure`] if the URL is not permitted; nothing is sent. Other errors if no response arrives.
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let Request { method, url, headers, body, timeout, read_timeout } = request;
        if !Authority::of(&url).is_confidential(self.plain_loopback) {
            return Err(HttpError::insecure(method, &url));
        }
        let failed = |source| HttpError::send(method, &url, self.about.route.proxy(&url), &self.about.roots, source);
        let mut builder = self.pools.current().map_err(failed)?.request(method.into(), url.clone());
        for (name, value) in headers {
            // The builder reports an invalid value.
            match HeaderValue::try_from(&value) {
                Ok(mut secret) if name.eq_ignore_ascii_case(AUTHORIZATION.as_str()) => {
                    secret.set_sensitive(true);
                    builder = builder.header(name, secret);
                }
                _ => builder = builder.header(name, value),
            }
        }
        let moved = Arc::new(Notify::new());
        builder = match body {
            Body::Empty => builder,
            // The HTTP library can replay these when a server requests it.
            Body::Bytes(bytes) if bytes.len() <= PIECE => builder.body(bytes),
            Body::Bytes(bytes) => {
                builder.header(CONTENT_LENGTH, bytes.len()).body(marking(stream::iter(pieces(bytes)), &moved))
            }
            Body::Stream(stream) => builder.body(marking(stream, &moved)),
        };
        let (deadline, longest) = (timeout.map(Deadline::after), read_timeout.unwrap_or(self.about.silence));
        let response = tokio::select! {
            answer = builder.send() => answer.map_err(failed)?,
            () = silence(&moved, longest) => return Err(HttpError::silent(method, &url, longest)),
            limit = deadline::expiry(deadline) => return Err(HttpError::timed_out(method, &url, limit)),
        };
        tracing::debug!(%method, url = %crate::redacted(&url), status = response.status().as_u16(), "answered");
        Ok(Response::new(response, method, url, self.about.silence, deadline))
    }
}

/// Returns a body that signals `moved` for each chunk it yields.
fn marking(body: impl Stream<Item = io::Result<Bytes>> + Send + 'static, moved: &Arc<Notify>) -> reqwest::Body {
    let moved = moved.clone();
    reqwest::Body::wrap_stream(body.inspect(move |_| moved.notify_one()))
}

/// Splits the bytes into chunks without copying.
fn pieces(mut bytes: Bytes) -> impl Iterator<Item = io::Result<Bytes>> {
    std::iter::from_fn(move || {
        let piece = bytes.split_to(PIECE.min(bytes.len()));
        (!piece.is_empty()).then_some(Ok(piece))
    })
}

/// Completes after the maximum time without activity.
async fn silence(moved: &Notify, longest: Duration) {
    while until(after(longest), moved.notified()).await.is_some() {}
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

/// A builder for [`HttpClient`].
///
/// By default it trusts the system's root certificates and those in `REQUESTS_CA_BUNDLE` and `SSL_CERT_FILE`, and uses
/// the proxy from the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`).
#[derive(Clone, Debug)]
pub struct HttpClientBuilder {
    plain_loopback: bool,
    decompression: bool,
    http1: bool,
    hosts: Hosts,
    resolver: Option<Arc<dyn Resolver>>,
    silence: Duration,
    roots: Vec<PathBuf>,
    proxy: Option<Proxy>,
    /// A certificate chain in PEM, and its private key.
    certificate: Option<(String, Secret)>,
}

impl HttpClientBuilder {
    /// Allows plain http to loopback addresses, without a proxy, and ignores proxies of the environment for https. For
    /// emulators and tests.
    pub fn with_plain_loopback(mut self) -> Self {
        self.plain_loopback = true;
        self
    }

    /// Trusts the certificates in a PEM file in addition to the system's. May be called more than once.
    pub fn with_root_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.roots.push(file.into());
        self
    }

    /// Sends all https requests through `proxy`, regardless of the environment.
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Sets the client certificate (RFC 8705): the chain and the private key, both in PEM.
    pub fn with_client_certificate(mut self, chain: impl Into<String>, key: Secret) -> Self {
        self.certificate = Some((chain.into(), key));
        self
    }

    /// Sets the maximum inactivity on a connection, 30 s by default. Increase it for servers that respond slowly.
    pub fn with_read_timeout(mut self, timeout: Duration) -> Self {
        self.silence = timeout;
        self
    }

    /// Returns bodies as sent, without decompression, so that checksums of the stored bytes match.
    pub fn without_decompression(mut self) -> Self {
        self.decompression = false;
        self
    }

    /// Uses HTTP/1.1 only, so that each request in flight has its own connection. HTTP/2 shares one connection and its
    /// flow-control windows, which limits large transfers.
    pub fn with_http1(mut self) -> Self {
        self.http1 = true;
        self
    }

    /// Shares circuit breakers and their observer with other clients. Clients built from clones of this builder also
    /// share them.
    pub fn with_hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = hosts;
        self
    }

    /// Resolves host names with `resolver` instead of the system's resolver. With a proxy, the proxy resolves https
    /// hosts.
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    ///
    /// A root certificate file, the client certificate or the proxy is invalid, or the system has no root certificates.
    /// If plain http is allowed, missing root certificates are an error only on the first https request.
    pub fn build(self) -> Result<HttpClient, BuildError> {
        let Roots { certificates, files } = Roots::read(&self.roots, |name| std::env::var_os(name))?;
        let (certificate, proxy) = (self.identity()?, self.proxy.as_ref().map(Proxy::build).transpose()?);
        let (setup, hosts) = (self.clone(), self.hosts.clone());
        let prepare = move || setup.prepare(certificate.clone(), proxy.clone());
        let build = move || match prepare().tls_certs_merge(certificates.clone()).build() {
            Err(_) if self.plain_loopback => prepare().tls_certs_only(certificates.clone()).build(),
            built => built,
        };
        let pools = Pools::new(build).map_err(|error| BuildError::client(&files, self.certificate.is_some(), error))?;
        let direct = self.plain_loopback && self.proxy.is_none();
        let route = if direct { Route::direct() } else { Route::of(self.proxy.as_ref()) };
        let certificate = self.certificate.as_ref().and_then(|(chain, _)| thumbprint(chain));
        let about = Arc::new(About { route, roots: files, silence: self.silence, certificate });
        Ok(HttpClient { pools, plain_loopback: self.plain_loopback, hosts, about })
    }

    /// Returns the client certificate in the HTTP library's format.
    fn identity(&self) -> Result<Option<reqwest::Identity>, BuildError> {
        let Some((chain, key)) = &self.certificate else { return Ok(None) };
        let pem = Secret::new(format!("{}\n{}", chain, key.expose()));
        reqwest::Identity::from_pem(pem.expose().as_bytes()).map(Some).map_err(|_| BuildError::certificate())
    }

    fn prepare(&self, certificate: Option<reqwest::Identity>, proxy: Option<reqwest::Proxy>) -> reqwest::ClientBuilder {
        let builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(SILENCE)
            .gzip(self.decompression);
        let builder = certificate.into_iter().fold(builder, reqwest::ClientBuilder::identity);
        let builder = if self.http1 { builder.http1_only() } else { builder };
        let resolver = self.resolver.iter().cloned().map(|resolver| Arc::new(Adapter(resolver)));
        let builder = resolver.fold(builder, reqwest::ClientBuilder::dns_resolver);
        match proxy {
            Some(proxy) => builder.proxy(proxy),
            None if self.plain_loopback => builder.no_proxy(),
            None => builder,
        }
    }
}
