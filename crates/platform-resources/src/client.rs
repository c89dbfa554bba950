mod connections;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use auth_core::{
    AsyncTokenCache, AsyncTokenProvider, Authority, BearerPolicy, Clock, Destination, RefreshLease, SystemClock,
    TokenKey, TokenKeyBuilder, TokenRequest, TokenSource, TokenSourceBuilder,
};
use auth_http::retry::Hosts;
use auth_http::{HttpClient, HttpClientBuilder, Proxy, Resolver};
use platform_api::models::Me;
use platform_api::operations::GetMe;

use crate::core::{Caching, Core, Group};
use crate::critical::CriticalSections;
use crate::error::{BuildError, Error};
use crate::settings::Settings;

pub(crate) use connections::http_client_builder;

/// A client for one platform, the entry point of this crate. Clones are cheap and share connections, tokens, cached
/// responses and circuit breakers.
///
/// Responses are cached for the time in the [settings](Settings), separately for each token. A write invalidates the
/// caller's affected responses; other callers see the change after their cached responses have expired. Transient
/// failures are retried, except for requests that create something.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) core: Core,
    #[cfg(feature = "download")]
    pub(crate) storage: crate::storage::Storage,
}

/// A builder for [`Client`].
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    settings: Settings,
    identity: Option<String>,
    provider: Option<Arc<dyn AsyncTokenProvider>>,
    cache: TokenCacheChoice,
    lease: Option<Arc<dyn RefreshLease>>,
    tokens: Option<TokenSource>,
    root_certificates: Vec<PathBuf>,
    proxy: Option<Proxy>,
    hosts: Hosts,
    resolver: Option<Arc<dyn Resolver>>,
    /// An existing HTTP client, and the builder that it was created with.
    http: Option<(HttpClientBuilder, HttpClient)>,
    clock: Arc<dyn Clock>,
}

/// The choice of the token cache.
#[derive(Clone, Debug)]
enum TokenCacheChoice {
    Memory,
    Custom(Arc<dyn AsyncTokenCache>),
    Disabled,
}

impl Client {
    /// Returns a builder for a client of the platform in the settings. A token provider must be added before `build`.
    ///
    /// ```
    /// use auth_core::async_provider_fn;
    /// use platform_resources::{Client, Settings};
    ///
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let vault = async_provider_fn(|_request| async { Ok("from-the-vault") });
    /// let settings = Settings::at(&"https://platform.aignostics.com".parse()?)?;
    /// let client = Client::builder(settings).with_token_provider(vault).build()?;
    /// # Ok(()) }
    /// ```
    pub fn builder(settings: Settings) -> ClientBuilder {
        ClientBuilder {
            settings,
            identity: None,
            provider: None,
            cache: TokenCacheChoice::Memory,
            lease: None,
            tokens: None,
            root_certificates: Vec::new(),
            proxy: None,
            hosts: Hosts::new(),
            resolver: None,
            http: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// Returns a client with another token request, for example for another subject or other scopes.
    pub fn with_token_request(mut self, request: TokenRequest) -> Self {
        self.core = self.core.with_token_request(request);
        self
    }

    /// Returns a client whose calls end after `deadline`, including all attempts of a call.
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.core = self.core.with_mode(|mode| mode.deadline = Some(deadline));
        self
    }

    /// Returns a client for calls that follow a run or belong to a transfer. Their retries have a [longer time
    /// limit](crate::RetrySettings::transfer_limit).
    pub(crate) fn for_transfer(mut self) -> Self {
        self.core = self.core.with_mode(|mode| mode.is_transfer = true);
        self
    }

    /// Returns a client whose creating requests are critical sections of `sections`.
    pub fn with_critical_sections(mut self, sections: &CriticalSections) -> Self {
        self.core.sections = sections.clone();
        self
    }

    /// Returns a client that does not use cached responses. It caches the responses that it receives.
    pub fn no_cache(mut self) -> Self {
        self.core = self.core.with_mode(|mode| mode.caching = Caching::Bypass);
        self
    }

    /// Returns the circuit breakers of this client.
    pub fn hosts(&self) -> &Hosts {
        self.core.unauthenticated().hosts()
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        self.core.settings()
    }

    /// Returns the version and the settings of the client as JSON without secrets, for support requests.
    pub fn info(&self) -> platform_api::JsonValue {
        serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "settings": self.settings().describe() })
    }

    /// Returns a client for the generated operations. It has no cache. It sends a request again only after a 401, which
    /// means that the platform has not accepted the request.
    pub fn api(&self) -> platform_api::Client {
        self.core.api()
    }

    /// Returns the user of the access token, and the organization. The response contains live credentials.
    ///
    /// # Errors
    ///
    /// The request failed.
    pub async fn me(&self) -> Result<Me, Error> {
        self.core.read_cached(GetMe::new(), Group::Me).await
    }
}

impl ClientBuilder {
    /// Sets the token provider: a closure ([`async_provider_fn`](auth_core::async_provider_fn)), a grant, or a custom
    /// provider. Tokens are cached in memory by default.
    ///
    /// If a provider determines the user from its context, for example from the current thread or request, its tokens
    /// must not be cached. Otherwise users would get each other's tokens. Call
    /// [`without_token_cache`](Self::without_token_cache), or name the user with [`Client::with_token_request`].
    pub fn with_token_provider(mut self, provider: impl AsyncTokenProvider + 'static) -> Self {
        self.provider = Some(Arc::new(provider));
        self
    }

    /// Sets a name for the principal of the tokens, if the provider has no
    /// [identity](auth_core::AsyncTokenProvider::identity). The name must differ for each user, client and tenant.
    ///
    /// The cache key of a token contains this identity (or the provider's identity, if none is set), the issuer, the
    /// audience, the organization and the origin of [`api_root`](Settings::api_root) from the settings, and the [token
    /// request](Client::with_token_request). Clients that share a cache share a token only if all of these are equal.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use auth_core::{MemoryTokenCache, async_provider_fn};
    /// use platform_resources::{Client, Settings};
    ///
    /// # fn example(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = Arc::new(MemoryTokenCache::new());
    /// let client = |user: &'static str| {
    ///     let vault = async_provider_fn(move |_request| async move { Ok(format!("from-the-vault-for-{user}")) });
    ///     let builder = Client::builder(settings.clone()).with_token_provider(vault);
    ///     builder.with_identity(user).with_token_cache(cache.clone()).build()
    /// };
    /// let (ada, ben) = (client("ada")?, client("ben")?);
    /// # Ok(()) }
    /// ```
    pub fn with_identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Caches tokens in `cache`: files, Redis, or a custom cache. A persistent cache needs a provider with an identity,
    /// or [`with_identity`](Self::with_identity).
    pub fn with_token_cache(mut self, cache: Arc<dyn AsyncTokenCache>) -> Self {
        self.cache = TokenCacheChoice::Custom(cache);
        self
    }

    /// Disables the token cache. The provider then obtains a token for each call.
    pub fn without_token_cache(mut self) -> Self {
        self.cache = TokenCacheChoice::Disabled;
        self
    }

    /// Sets a lease, so that only one of the processes that share a cache obtains a token at a time.
    pub fn with_token_lease(mut self, lease: Arc<dyn RefreshLease>) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets a store that is both a cache and a lease, such as Redis. It combines
    /// [`with_token_cache`](Self::with_token_cache) and [`with_token_lease`](Self::with_token_lease).
    pub fn with_token_store<S: AsyncTokenCache + RefreshLease + 'static>(self, store: Arc<S>) -> Self {
        self.with_token_cache(store.clone()).with_token_lease(store)
    }

    /// Uses an existing token source. The other token options then have no effect.
    pub fn with_tokens(mut self, tokens: TokenSource) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Trusts the certificates in a PEM file, in addition to the certificates of the system.
    pub fn with_root_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.root_certificates.push(file.into());
        self
    }

    /// Sends all https requests through `proxy`, regardless of the environment and the profile.
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Shares circuit breakers, and the [observer](Hosts::with_observer) of waits, with other clients.
    pub fn with_hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = hosts;
        self
    }

    /// Resolves host names with `resolver` instead of the system's resolver.
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Uses an existing HTTP client. The other connection options then have no effect. `http_builder` is the builder
    /// that `http` was created with.
    #[cfg(feature = "login")]
    pub(crate) fn with_http(mut self, http_builder: HttpClientBuilder, http: HttpClient) -> Self {
        self.http = Some((http_builder, http));
        self
    }

    /// Sets the clock that determines the expiry of responses and tokens, and whether dates are in the future.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the client without sending a request.
    ///
    /// # Errors
    ///
    /// The client has no token provider, its token options contradict each other (the message names the method to
    /// call), or the system has no root certificates.
    pub fn build(self) -> Result<Client, BuildError> {
        let tokens = self.token_source()?;
        let Self { settings, root_certificates, proxy, hosts, resolver, http, clock, .. } = self;
        let connections = if let Some(existing) = http {
            existing
        } else {
            let http_builder = http_client_builder(&settings, &root_certificates, proxy.as_ref())?.with_hosts(hosts);
            let http_builder = resolver.into_iter().fold(http_builder, HttpClientBuilder::with_resolver);
            (http_builder.clone(), http_builder.build()?)
        };
        let unauthenticated = connections.1;
        let destination = Destination::new(Authority::of(&settings.api_root));
        let destination = if settings.is_plain_loopback() { destination.with_plain_loopback() } else { destination };
        Ok(Client {
            #[cfg(feature = "download")]
            storage: crate::storage::Storage::new(connections.0, &settings, clock.clone()),
            core: Core::new(
                unauthenticated.authorized(BearerPolicy::new(destination), tokens),
                unauthenticated,
                settings,
                clock,
            ),
        })
    }

    fn token_source(&self) -> Result<TokenSource, BuildError> {
        let Self { settings, identity, provider, cache, lease, tokens, clock, .. } = self;
        if let Some(tokens) = tokens {
            return Ok(tokens.clone());
        }
        let provider = provider.clone().ok_or_else(BuildError::no_tokens)?;
        let key = TokenKey::builder(&settings.issuer).with_audience(&settings.audience);
        let key = key.with_origin(settings.api_root.origin().ascii_serialization());
        let key = settings.organization_id.iter().fold(key, TokenKeyBuilder::with_tenant);
        let source = TokenSource::builder(key.build(), provider).with_clock(clock.clone());
        let source = identity.iter().fold(source, TokenSourceBuilder::with_identity);
        let source = match cache {
            TokenCacheChoice::Memory => source,
            TokenCacheChoice::Custom(cache) => source.with_cache(cache.clone()),
            TokenCacheChoice::Disabled => source.without_cache(),
        };
        let source = lease.iter().cloned().fold(source, TokenSourceBuilder::with_lease);
        source.build().map_err(BuildError::token_source)
    }
}
