use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use auth_core::{
    AsyncTokenCache, AsyncTokenProvider, Authority, BearerPolicy, Clock, Destination, RefreshLease, SourceBuildError,
    SystemClock, TokenKey, TokenKeyBuilder, TokenRequest, TokenSource, TokenSourceBuilder,
};
use auth_http::retry::Hosts;
use auth_http::{HttpClient, HttpClientBuilder, Proxy, Resolver};
use platform_api::models::{Me, RunId};
use platform_api::operations::GetMe;

use crate::core::{Caching, Core, Group};
use crate::{Applications, CriticalSections, Error, Grants, RunHandle, Runs, Settings, ShareTokens};

/// A client of one platform, and where everything begins. Cheap to clone; clones share their connections, their tokens, what
/// they keep and their circuit breakers.
///
/// What is read is kept for as long as the [settings](Settings) say, each answer under the token that it was asked with; a
/// write forgets what it can have changed for whoever writes; others see it when their time is over. What fails and may pass
/// is tried again, but no submission.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) core: Core,
    #[cfg(feature = "download")]
    pub(crate) storage: crate::bucket::Storage,
}

/// Sets up a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    settings: Settings,
    identity: Option<String>,
    provider: Option<Arc<dyn AsyncTokenProvider>>,
    cache: Cache,
    lease: Option<Arc<dyn RefreshLease>>,
    tokens: Option<TokenSource>,
    roots: Vec<PathBuf>,
    proxy: Option<Proxy>,
    hosts: Hosts,
    resolver: Option<Arc<dyn Resolver>>,
    /// Connections that are there already, and what makes more of the same.
    http: Option<(HttpClientBuilder, HttpClient)>,
    clock: Arc<dyn Clock>,
}

/// Where tokens are kept.
#[derive(Clone, Debug)]
enum Cache {
    Memory,
    Given(Arc<dyn AsyncTokenCache>),
    Nowhere,
}

/// A client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BuildError(#[from] BuildKind);

#[derive(Debug, thiserror::Error)]
enum BuildKind {
    #[error("the client of the platform could not be set up")]
    Http(#[from] auth_http::BuildError),
    #[error("the client has no source of tokens: call `with_token_provider`, or use the client of a `Service`")]
    NoTokens,
    #[error(transparent)]
    Source(#[from] SourceBuildError),
    #[error("{}", in_terms_of_client(.0))]
    Tokens(#[source] SourceBuildError),
}

/// Returns the message of `error` with the names of the methods of [`ClientBuilder`].
fn in_terms_of_client(error: &SourceBuildError) -> String {
    error.to_string().replace(".with_cache(", ".with_token_cache(").replace(".with_lease(", ".with_token_lease(")
}

impl From<SourceBuildError> for BuildError {
    fn from(error: SourceBuildError) -> Self {
        BuildKind::from(error).into()
    }
}

impl From<auth_http::BuildError> for BuildError {
    fn from(error: auth_http::BuildError) -> Self {
        BuildKind::from(error).into()
    }
}

impl Client {
    /// Starts to set up a client of the platform that the settings describe. It needs a source of tokens.
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
            cache: Cache::Memory,
            lease: None,
            tokens: None,
            roots: Vec::new(),
            proxy: None,
            hosts: Hosts::new(),
            resolver: None,
            http: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// A client for the user who is logged in on this machine, at the platform that the environment describes. Nobody is
    /// asked to log in.
    ///
    /// # Errors
    ///
    /// The settings cannot be used, or the client cannot be set up.
    #[cfg(feature = "login")]
    pub fn from_env() -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(crate::Service::builder(Settings::from_env()?).build()?.client()?)
    }

    /// The same client with tokens for `wanted`: of a certain user, with certain scopes.
    pub fn with_token_request(mut self, wanted: TokenRequest) -> Self {
        self.core = self.core.with_token_request(wanted);
        self
    }

    /// The same client, for which all attempts of one call together may take so long.
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.core = self.core.with_mode(|mode| mode.deadline = Some(deadline));
        self
    }

    /// The same client for calls that follow a run or belong to a transfer, which are
    /// [retried for longer](crate::RetrySettings::transfer_limit).
    pub(crate) fn for_transfer(mut self) -> Self {
        self.core = self.core.with_mode(|mode| mode.is_transfer = true);
        self
    }

    /// Returns the same client, whose requests that create something are sections of `sections`.
    pub fn with_critical_sections(mut self, sections: &CriticalSections) -> Self {
        self.core.sections = sections.clone();
        self
    }

    /// The same client, which asks the platform even for what is kept; the answers are kept.
    pub fn nocache(mut self) -> Self {
        self.core = self.core.with_mode(|mode| mode.caching = Caching::Bypass);
        self
    }

    /// Returns the circuit breakers of this client.
    pub fn hosts(&self) -> &Hosts {
        self.core.plain().hosts()
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        self.core.settings()
    }

    /// What the client is and how it is set up, as JSON and without secrets: for people who ask for help.
    pub fn info(&self) -> platform_api::JsonValue {
        serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "settings": self.settings().describe() })
    }

    /// The operations as they are: nothing is kept, and nothing tried again but what a 401 says was not accepted.
    pub fn api(&self) -> platform_api::Client {
        self.core.bare()
    }

    /// Whom the token speaks for. The answer holds live credentials.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or refused.
    pub async fn me(&self) -> Result<Me, Error> {
        self.core.read(GetMe::new(), Group::Me).await
    }

    /// The applications that the caller may use.
    pub fn applications(&self) -> Applications {
        Applications::new(self.clone())
    }

    /// The runs of the caller.
    pub fn runs(&self) -> Runs {
        Runs::new(self.clone())
    }

    /// One run. Nothing is asked for until a method of the handle is called.
    pub fn run(&self, id: impl Into<RunId>) -> RunHandle {
        RunHandle::new(self.clone(), id.into())
    }

    /// What was granted to others, and to the caller.
    pub fn grants(&self) -> Grants {
        Grants::new(self.core.clone())
    }

    /// The share tokens of the caller.
    pub fn share_tokens(&self) -> ShareTokens {
        ShareTokens::new(self.core.clone())
    }
}

/// How everything that belongs to a platform is spoken to.
pub(crate) fn prepare(settings: &Settings, roots: &[PathBuf], proxy: Option<&Proxy>) -> HttpClientBuilder {
    let http = roots.iter().fold(HttpClient::builder(), HttpClientBuilder::with_roots);
    let http = proxy.cloned().into_iter().fold(http, HttpClientBuilder::with_proxy);
    if settings.is_plain_loopback() { http.with_plain_loopback() } else { http }
}

impl ClientBuilder {
    /// Sets the source of tokens: a closure ([`async_provider_fn`](auth_core::async_provider_fn)), a grant, or a provider of
    /// your own. Tokens are kept in memory by default.
    ///
    /// The tokens of a provider that obtains them for an *ambient* user – the user of the current thread or request – must
    /// not be cached, or one user would get those of another: call [`without_token_cache`](Self::without_token_cache), or
    /// name the user by [`Client::with_token_request`].
    pub fn with_token_provider(mut self, provider: impl AsyncTokenProvider + 'static) -> Self {
        self.provider = Some(Arc::new(provider));
        self
    }

    /// Sets the principal that tokens are obtained as, for a provider without an
    /// [identity](auth_core::AsyncTokenProvider::identity): a name that is different for every user, client and tenant.
    ///
    /// The key of a token has this identity, or else that of the provider, and from the settings the issuer, the audience,
    /// the organization and the origin of [`api_root`](Settings::api_root). Clients that share a cache share a token only if
    /// all of them are equal, and the [request](Client::with_token_request) too.
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

    /// Keeps tokens in `cache`: files, Redis, or a cache of your own. A persistent cache needs a provider with an identity,
    /// or [`with_identity`](Self::with_identity).
    pub fn with_token_cache(mut self, cache: Arc<dyn AsyncTokenCache>) -> Self {
        self.cache = Cache::Given(cache);
        self
    }

    /// Keeps no tokens: the provider is asked on every call.
    pub fn without_token_cache(mut self) -> Self {
        self.cache = Cache::Nowhere;
        self
    }

    /// Lets processes that share a store obtain one token for all.
    pub fn with_token_lease(mut self, lease: Arc<dyn RefreshLease>) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Tokens come from a source that is there already, with its cache, whatever else was said.
    pub fn with_tokens(mut self, tokens: TokenSource) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Trusts the certificates in a file (PEM) too, beside those that the system trusts.
    pub fn with_roots(mut self, file: impl Into<PathBuf>) -> Self {
        self.roots.push(file.into());
        self
    }

    /// Sends all https through `proxy`, whatever the environment says.
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Shares circuit breakers with other clients, and their [observer](Hosts::with_observer) of waits.
    pub fn with_hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = hosts;
        self
    }

    /// Finds the addresses of servers by `resolver`, in place of the system's.
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Over connections that are there already, whatever else was said of the way; `prepared` makes more of the same.
    #[cfg(feature = "login")]
    pub(crate) fn with_http(mut self, prepared: HttpClientBuilder, http: HttpClient) -> Self {
        self.http = Some((prepared, http));
        self
    }

    /// The clock that decides how long answers and tokens are kept, and whether dates lie in the future.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The client. Nothing is asked for yet, no token either.
    ///
    /// # Errors
    ///
    /// The client has no source of tokens, its parts do not fit together (the message names the method to call), or the system has no
    /// root certificates.
    pub fn build(self) -> Result<Client, BuildError> {
        let tokens = self.tokens()?;
        let Self { settings, roots, proxy, hosts, resolver, http, clock, .. } = self;
        // What makes connections, and those that there are.
        let connections = if let Some(there) = http {
            there
        } else {
            let prepared = prepare(&settings, &roots, proxy.as_ref()).with_hosts(hosts);
            let prepared = resolver.into_iter().fold(prepared, HttpClientBuilder::with_resolver);
            (prepared.clone(), prepared.build()?)
        };
        let plain = connections.1;
        let destination = Destination::new(Authority::of(&settings.api_root));
        let destination = if settings.is_plain_loopback() { destination.with_plain_loopback() } else { destination };
        Ok(Client {
            #[cfg(feature = "download")]
            storage: crate::bucket::Storage::new(connections.0, &settings, clock.clone()),
            core: Core::new(plain.authorized(BearerPolicy::new(destination), tokens), plain, settings, clock),
        })
    }

    fn tokens(&self) -> Result<TokenSource, BuildError> {
        let Self { settings, identity, provider, cache, lease, tokens, clock, .. } = self;
        if let Some(tokens) = tokens {
            return Ok(tokens.clone());
        }
        let provider = provider.clone().ok_or(BuildKind::NoTokens)?;
        let key = TokenKey::builder(&settings.issuer).with_audience(&settings.audience);
        let key = key.with_origin(settings.api_root.origin().ascii_serialization());
        let key = settings.organization_id.iter().fold(key, TokenKeyBuilder::with_tenant);
        let source = TokenSource::builder(key.build(), provider).with_clock(clock.clone());
        let source = identity.iter().fold(source, TokenSourceBuilder::with_identity);
        let source = match cache {
            Cache::Memory => source,
            Cache::Given(cache) => source.with_cache(cache.clone()),
            Cache::Nowhere => source.without_cache(),
        };
        let source = lease.iter().cloned().fold(source, TokenSourceBuilder::with_lease);
        Ok(source.build().map_err(BuildKind::Tokens)?)
    }
}
