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
use crate::deadline::{self, Deadline, instant_after, run_until};
use crate::internal::is_internal_host;
use crate::metadata;
use crate::pools::Pools;
use crate::proxy::{Proxy, Route};
use crate::request::Body;
use crate::resolver::{ReqwestResolver, Resolver};
use crate::retry::{Attempts, Hosts, RetryPolicy};
use crate::roots::Roots;
use crate::{BuildError, HttpError, Method, Request, Response};

/// The connect timeout, and the default read timeout, which limits the inactivity on a connection. The read timeout of
/// `reqwest` is not used, because it counts the time to send a body as inactivity.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The size of the chunks into which larger bodies are split, in bytes. Each chunk counts as activity, and fits into
/// the buffers of a connection.
const CHUNK_SIZE: usize = 64 * 1024;

/// The `User-Agent` header.
const USER_AGENT: &str = concat!("aignostics-rust/", env!("CARGO_PKG_VERSION"));

/// An HTTP client without credentials. Clones are cheap and share connections. Each runtime has its own connections,
/// because a connection ends with the runtime that opened it.
#[derive(Clone)]
pub struct HttpClient {
    pools: Pools,
    /// The connections through proxies, if those of `pools` are only for public hosts: a proxy may be internal.
    proxied_pools: Option<Pools>,
    plain_loopback: bool,
    plain_metadata: bool,
    hosts: Hosts,
    settings: Arc<Settings>,
}

/// Settings of a client that are used for timeouts and error messages.
struct Settings {
    route: Route,
    /// Root certificate files in addition to the system's roots.
    root_files: Vec<PathBuf>,
    /// The maximum inactivity on a connection.
    read_timeout: Duration,
    /// The thumbprint of the client certificate.
    certificate_thumbprint: Option<String>,
}

impl HttpClient {
    /// Returns a builder with default settings.
    pub fn builder() -> HttpClientBuilder {
        HttpClientBuilder {
            plain_loopback: false,
            plain_metadata: false,
            decompression: true,
            http1: false,
            public_hosts: false,
            hosts: Hosts::new(),
            resolver: None,
            read_timeout: DEFAULT_TIMEOUT,
            root_files: Vec::new(),
            proxy: None,
            certificate: None,
        }
    }

    /// Returns the thumbprint of the client certificate (`x5t#S256`; RFC 8705, section 3.1).
    pub fn certificate_thumbprint(&self) -> Option<&str> {
        self.settings.certificate_thumbprint.as_deref()
    }

    /// Returns the retry state of one request to the host of `url`. Clones of this client, and all clients that were
    /// built with the same [`Hosts`], share one circuit breaker for the host.
    pub fn attempts(&self, url: &url::Url, policy: &RetryPolicy) -> Attempts {
        self.hosts.attempts(url, policy)
    }

    /// Returns the circuit breakers, one for each host.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Sends a request, and returns the response head, whatever its status.
    ///
    /// # Errors
    ///
    /// [`HttpError::is_insecure`] if the connection would be unencrypted, or [`HttpError::is_internal`] if the client is for
    /// public hosts and this one is not; nothing is sent. Other errors if no response arrives.
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let Request { method, url, headers, body, timeout, read_timeout } = request;
        let is_metadata_request = self.plain_metadata && metadata::is_server(&url);
        if !is_metadata_request && !Authority::of(&url).is_confidential(self.plain_loopback) {
            return Err(HttpError::insecure(method, &url));
        }
        if self.proxied_pools.is_some() && is_internal_host(&url) {
            return Err(HttpError::internal(method, &url));
        }
        let proxy = self.settings.route.proxy(&url);
        let send_error = |source| HttpError::send(method, &url, proxy.clone(), &self.settings.root_files, source);
        let pools = self.proxied_pools.as_ref().filter(|_| proxy.is_some()).unwrap_or(&self.pools);
        let mut builder = pools.current_client().map_err(send_error)?.request(method.into(), url.clone());
        for (name, value) in headers {
            // An invalid value is passed to `reqwest`, which reports it.
            match HeaderValue::try_from(&value) {
                Ok(mut secret) if name.eq_ignore_ascii_case(AUTHORIZATION.as_str()) => {
                    secret.set_sensitive(true);
                    builder = builder.header(name, secret);
                }
                _ => builder = builder.header(name, value),
            }
        }
        let activity = Arc::new(Notify::new());
        builder = match body {
            Body::Empty => builder,
            // Some storages require the length of an empty body, which `reqwest` does not send.
            Body::Bytes(bytes) if bytes.is_empty() => builder.header(CONTENT_LENGTH, 0).body(bytes),
            // A small body is not streamed, so that `reqwest` can send it again if the server requests that (HTTP/2).
            Body::Bytes(bytes) if bytes.len() <= CHUNK_SIZE => builder.body(bytes),
            Body::Bytes(bytes) => {
                builder.header(CONTENT_LENGTH, bytes.len()).body(notifying_body(stream::iter(chunks(bytes)), &activity))
            }
            Body::Stream(stream) => builder.body(notifying_body(stream, &activity)),
        };
        let deadline = timeout.map(Deadline::after);
        let read_timeout = read_timeout.unwrap_or(self.settings.read_timeout);
        let response = tokio::select! {
            response = builder.send() => response.map_err(send_error)?,
            () = wait_for_inactivity(&activity, read_timeout) => {
                return Err(HttpError::inactive(method, &url, read_timeout));
            }
            timeout = deadline::wait_for_deadline(deadline) => return Err(HttpError::timed_out(method, &url, timeout)),
        };
        tracing::debug!(%method, url = %crate::redacted(&url), status = response.status().as_u16(), "response");
        Ok(Response::new(response, method, url, self.settings.read_timeout, deadline, proxy.is_none()))
    }
}

/// Returns a body that notifies `activity` of each chunk that it yields.
fn notifying_body(
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    activity: &Arc<Notify>,
) -> reqwest::Body {
    let activity = activity.clone();
    reqwest::Body::wrap_stream(body.inspect(move |_| activity.notify_one()))
}

/// Splits the bytes into chunks without copying.
fn chunks(mut bytes: Bytes) -> impl Iterator<Item = io::Result<Bytes>> {
    std::iter::from_fn(move || {
        let chunk = bytes.split_to(CHUNK_SIZE.min(bytes.len()));
        (!chunk.is_empty()).then_some(Ok(chunk))
    })
}

/// Completes after `read_timeout` without activity.
async fn wait_for_inactivity(activity: &Notify, read_timeout: Duration) {
    while run_until(instant_after(read_timeout), activity.notified()).await.is_some() {}
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
/// By default, the client trusts the root certificates of the system and those in `REQUESTS_CA_BUNDLE` and
/// `SSL_CERT_FILE`, and uses the proxies of the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`).
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent options, each with a setter")]
pub struct HttpClientBuilder {
    plain_loopback: bool,
    plain_metadata: bool,
    decompression: bool,
    http1: bool,
    public_hosts: bool,
    hosts: Hosts,
    resolver: Option<Arc<dyn Resolver>>,
    read_timeout: Duration,
    root_files: Vec<PathBuf>,
    proxy: Option<Proxy>,
    /// A certificate chain in PEM, and its private key.
    certificate: Option<(String, Secret)>,
}

impl HttpClientBuilder {
    /// Allows plain http to loopback addresses, for emulators and tests. Such requests use no proxy. Https requests
    /// then ignore the proxies of the environment.
    pub fn with_plain_loopback(mut self) -> Self {
        self.plain_loopback = true;
        self
    }

    /// Allows plain http to the fixed addresses of the metadata servers of cloud machines, without a proxy. Https
    /// requests then ignore the proxies of the environment. Use it only for clients that fetch the credentials of a
    /// machine.
    pub fn with_plain_metadata(mut self) -> Self {
        self.plain_metadata = true;
        self
    }

    /// Trusts the root certificates in a PEM file in addition to those of the system. May be called more than once.
    pub fn with_root_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.root_files.push(file.into());
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

    /// Sets the maximum inactivity on a connection. The default is 30 s. Increase it for servers that respond slowly.
    pub fn with_read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// Disables decompression, so that response bodies are returned as sent and match checksums of the stored bytes.
    pub fn without_decompression(mut self) -> Self {
        self.decompression = false;
        self
    }

    /// Uses HTTP/1.1 only, so that concurrent requests have separate connections. With HTTP/2, they share one
    /// connection and its flow-control window, which slows down large transfers.
    pub fn with_http1(mut self) -> Self {
        self.http1 = true;
        self
    }

    /// Sets the circuit breakers, to share them and their observer with other clients. Clients that are built
    /// from clones of this builder always share their circuit breakers.
    pub fn with_hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = hosts;
        self
    }

    /// Resolves host names with `resolver` instead of the system's resolver. The host names of requests through a proxy
    /// are resolved by the proxy.
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Connects to public hosts only, for URLs that another server has chosen: internal hosts are refused
    /// ([`is_internal_host`]), and so are names that resolve to internal addresses ([`is_internal_address`](crate::is_internal_address)).
    /// Through a proxy, the proxy resolves the names, and must refuse such hosts itself.
    pub fn with_public_hosts(mut self) -> Self {
        self.public_hosts = true;
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    ///
    /// A root certificate file, the client certificate or the proxy is invalid, or the system has no root certificates.
    /// If plain http is allowed, missing root certificates are not an error until the first https request.
    pub fn build(self) -> Result<HttpClient, BuildError> {
        let Roots { certificates, files } = Roots::read(&self.root_files, |name| std::env::var_os(name))?;
        let (certificate, proxy) = (self.reqwest_identity()?, self.proxy.as_ref().map(Proxy::build).transpose()?);
        let hosts = self.hosts.clone();
        let create_pools = |is_public: bool| {
            let (builder, certificates) = (self.clone(), certificates.clone());
            let (certificate, proxy) = (certificate.clone(), proxy.clone());
            let build = move || {
                let reqwest_builder = || builder.reqwest_builder(certificate.clone(), proxy.clone(), is_public);
                match reqwest_builder().tls_certs_merge(certificates.clone()).build() {
                    Err(_) if builder.plain_loopback => reqwest_builder().tls_certs_only(certificates.clone()).build(),
                    build_result => build_result,
                }
            };
            Pools::new(build).map_err(|error| BuildError::client(&files, self.certificate.is_some(), error))
        };
        let proxied_pools = self.public_hosts.then(|| create_pools(false)).transpose()?;
        let pools = create_pools(self.public_hosts)?;
        let is_direct = (self.plain_loopback || self.plain_metadata) && self.proxy.is_none();
        let route = if is_direct { Route::direct() } else { Route::of(self.proxy.as_ref()) };
        let certificate_thumbprint = self.certificate.as_ref().and_then(|(chain, _)| thumbprint(chain));
        let Self { plain_loopback, plain_metadata, read_timeout, .. } = self;
        let settings = Arc::new(Settings { route, root_files: files, read_timeout, certificate_thumbprint });
        Ok(HttpClient { pools, proxied_pools, plain_loopback, plain_metadata, hosts, settings })
    }

    /// Returns the client certificate in the format of `reqwest`.
    fn reqwest_identity(&self) -> Result<Option<reqwest::Identity>, BuildError> {
        let Some((chain, key)) = &self.certificate else { return Ok(None) };
        let pem = Secret::new(format!("{}\n{}", chain, key.expose()));
        reqwest::Identity::from_pem(pem.expose().as_bytes()).map(Some).map_err(|_| BuildError::certificate())
    }

    fn reqwest_builder(
        &self,
        certificate: Option<reqwest::Identity>,
        proxy: Option<reqwest::Proxy>,
        is_public: bool,
    ) -> reqwest::ClientBuilder {
        let builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(DEFAULT_TIMEOUT)
            .gzip(self.decompression);
        let builder = certificate.into_iter().fold(builder, reqwest::ClientBuilder::identity);
        let builder = if self.http1 { builder.http1_only() } else { builder };
        let resolver = self.resolver.clone();
        let builder = if resolver.is_some() || is_public {
            builder.dns_resolver(Arc::new(ReqwestResolver { resolver, is_public }))
        } else {
            builder
        };
        match proxy {
            Some(proxy) => builder.proxy(proxy),
            None if self.plain_loopback || self.plain_metadata => builder.no_proxy(),
            None => builder,
        }
    }
}
