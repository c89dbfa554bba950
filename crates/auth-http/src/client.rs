use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use auth_core::{Authority, BearerPolicy, Secret, TokenSource};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use tokio::sync::Notify;

use crate::certificate::thumbprint;
use crate::pools::Pools;
use crate::proxy::{Proxy, Route};
use crate::request::Body;
use crate::resolver::{Adapter, Resolver};
use crate::retry::{Attempts, Hosts, RetryPolicy};
use crate::roots::Roots;
use crate::{AuthorizedClient, BuildError, HttpError, Method, Request, Response};

/// The longest time to establish a connection, and the longest silence on one unless something is said: the HTTP
/// library would count the time that it takes to send a body as silence, so it is watched here.
const SILENCE: Duration = Duration::from_secs(30);

/// Size of the pieces in which larger bodies are sent. Each is a sign of life; the buffers of a connection take one whole.
const PIECE: usize = 64 * 1024;

/// What the client calls itself.
const USER_AGENT: &str = concat!("aignostics-rust/", env!("CARGO_PKG_VERSION"));

/// Sends requests without credentials. Cheap to clone; clones share their connections. Each runtime that sends requests
/// has connections of its own, since a connection ends with the runtime that opened it.
#[derive(Clone)]
pub struct HttpClient {
    pools: Pools,
    plain_loopback: bool,
    hosts: Hosts,
    about: Arc<About>,
}

/// What an error has to say of how the client is set up.
struct About {
    route: Route,
    /// Files with roots beside those of the system.
    roots: Vec<PathBuf>,
    /// The longest silence on a connection.
    silence: Duration,
    /// The thumbprint of the client certificate.
    certificate: Option<String>,
}

impl HttpClient {
    /// Starts to set up a client.
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

    /// Returns the thumbprint of the certificate that the client shows to servers (`x5t#S256`; RFC 8705, section 3.1).
    pub fn certificate_thumbprint(&self) -> Option<&str> {
        self.about.certificate.as_deref()
    }

    /// Begins the attempts of one request to the host of `url`. They are those of all clones of this client, and of the
    /// clients that were built with the same [`Hosts`].
    pub fn attempts(&self, url: &url::Url, policy: &RetryPolicy) -> Attempts {
        self.hosts.attempts(url, policy)
    }

    /// Returns the circuit breakers, one for each host.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
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
        let failed = |source| HttpError::send(method, &url, self.about.route.proxy(&url), &self.about.roots, source);
        let mut builder = self.pools.current().map_err(failed)?.request(method.into(), url.clone());
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
        let moved = Arc::new(Notify::new());
        builder = match body {
            Body::Empty => builder,
            // The HTTP library can send these again by itself where a server asks for that.
            Body::Bytes(bytes) if bytes.len() <= PIECE => builder.body(bytes),
            Body::Bytes(bytes) => {
                builder.header(CONTENT_LENGTH, bytes.len()).body(marking(stream::iter(pieces(bytes)), &moved))
            }
            Body::Stream(stream) => builder.body(marking(stream, &moved)),
        };
        if let Some(timeout) = timeout {
            builder = builder.timeout(timeout);
        }
        let response = tokio::select! {
            answer = builder.send() => answer.map_err(failed)?,
            () = silence(&moved, self.about.silence) => return Err(HttpError::silent(method, &url, self.about.silence)),
        };
        tracing::debug!(%method, url = %crate::redacted(&url), status = response.status().as_u16(), "answered");
        Ok(Response::new(response, method, url, self.about.silence))
    }
}

/// A body that notes every piece which leaves it.
fn marking(body: impl Stream<Item = io::Result<Bytes>> + Send + 'static, moved: &Arc<Notify>) -> reqwest::Body {
    let moved = moved.clone();
    reqwest::Body::wrap_stream(body.inspect(move |_| moved.notify_one()))
}

/// The same bytes, one piece after the other; they are not copied.
fn pieces(mut bytes: Bytes) -> impl Iterator<Item = io::Result<Bytes>> {
    std::iter::from_fn(move || {
        let piece = bytes.split_to(PIECE.min(bytes.len()));
        (!piece.is_empty()).then_some(Ok(piece))
    })
}

/// Ends when nothing has moved for too long.
async fn silence(moved: &Notify, longest: Duration) {
    while tokio::time::timeout(longest, moved.notified()).await.is_ok() {}
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
///
/// What the system trusts, and the proxy that the environment names (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), are used
/// unless something else is said; so are the roots in the files of `REQUESTS_CA_BUNDLE` and `SSL_CERT_FILE`.
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
    /// A chain in PEM, and its key.
    certificate: Option<(String, Secret)>,
}

impl HttpClientBuilder {
    /// Allows plain http to this machine, which goes to no proxy, and uses none for https unless one is named: for
    /// emulators and tests.
    pub fn with_plain_loopback(mut self) -> Self {
        self.plain_loopback = true;
        self
    }

    /// Trusts the certificates in a file (PEM) too, beside those that the system trusts. May be called for several.
    pub fn with_roots(mut self, file: impl Into<PathBuf>) -> Self {
        self.roots.push(file.into());
        self
    }

    /// Sends all https through `proxy`, whatever the environment says.
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Shows servers that ask for it a certificate (RFC 8705): its chain in PEM, and its private key in PEM.
    pub fn with_client_certificate(mut self, chain: impl Into<String>, key: Secret) -> Self {
        self.certificate = Some((chain.into(), key));
        self
    }

    /// The longest silence on a connection; 30 s unless something is said. For servers that think before they answer.
    pub fn with_longest_silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// Returns bodies as they were sent: for files whose checksum is that of the stored bytes.
    pub fn without_decompression(mut self) -> Self {
        self.decompression = false;
        self
    }

    /// Speaks HTTP/1.1 alone, so that each request that is in flight has a connection of its own. Over HTTP/2 all of them
    /// share one connection and its flow-control windows, which limits large transfers.
    pub fn with_http1(mut self) -> Self {
        self.http1 = true;
        self
    }

    /// Shares the circuit breakers of other clients, and their observer. Clients that are built by clones of this builder
    /// share them too.
    pub fn with_hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = hosts;
        self
    }

    /// Finds the addresses of servers by `resolver`, in place of the system's. A proxy finds those of https servers itself.
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// A file with roots, the client's certificate or the proxy cannot be used; or the system has no root
    /// certificates, which https needs. Where plain http to this machine is allowed, the latter is no
    /// error until somebody speaks https.
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

    /// Returns the client certificate in the form of the HTTP library.
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
