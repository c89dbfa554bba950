use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use auth_core::{AsyncTokenCache, Authority, Clock, ExpiryPolicy, MemoryTokenCache, RefreshLease, SystemClock};
use auth_http::{HttpClient, HttpClientBuilder};
use url::Url;

use super::Gateway;
use crate::agent_card::{AgentCards, CardCache};
use crate::authorization::{LoginCounters, Settings};
use crate::core::Core;
use crate::credentials::CredentialSource;
use crate::server::{AgentAddress, ServerDirectory};
use crate::session::Sessions;
use crate::tool_cache::ToolCache;
use crate::transport::{Identities, IdentitySetup};

/// The maximum time before the expiry of a token at which it is refreshed.
const MAX_REFRESH_BUFFER: Duration = Duration::from_secs(30);
/// The default maximum number of servers that list their tools in parallel.
const DEFAULT_PARALLEL_SERVERS: usize = 8;
/// The default lifetime of a cached tool list.
const DEFAULT_TOOL_LIFETIME: Duration = Duration::from_secs(300);
/// The default time limit for the tool list of one server.
const DEFAULT_DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// The default time limit of a tool call.
const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(300);
/// The default minimum interval between two reads of the credential source.
const DEFAULT_WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// A builder for [`Gateway`]. Every option has a default.
#[derive(Clone)]
pub struct GatewayBuilder {
    credentials: Arc<dyn CredentialSource>,
    directory: Arc<dyn ServerDirectory>,
    http: HttpClientBuilder,
    plain_loopback: bool,
    cache: Option<Arc<dyn AsyncTokenCache>>,
    lease: Option<Arc<dyn RefreshLease>>,
    clock: Arc<dyn Clock>,
    expiry: Option<ExpiryPolicy>,
    parallel_servers: usize,
    tool_lifetime: Duration,
    discovery_timeout: Duration,
    call_timeout: Duration,
    watch_interval: Duration,
    agents: Vec<AgentAddress>,
    agent_origins: Vec<Authority>,
}

impl GatewayBuilder {
    pub(super) fn new(credentials: Arc<dyn CredentialSource>, directory: Arc<dyn ServerDirectory>) -> Self {
        Self {
            credentials,
            directory,
            http: HttpClient::builder(),
            plain_loopback: false,
            cache: None,
            lease: None,
            clock: Arc::new(SystemClock),
            expiry: None,
            parallel_servers: DEFAULT_PARALLEL_SERVERS,
            tool_lifetime: DEFAULT_TOOL_LIFETIME,
            discovery_timeout: DEFAULT_DISCOVERY_TIMEOUT,
            call_timeout: DEFAULT_CALL_TIMEOUT,
            watch_interval: DEFAULT_WATCH_INTERVAL,
            agents: Vec::new(),
            agent_origins: Vec::new(),
        }
    }

    /// Sets the options of connections, such as root certificates and a proxy. The client certificate comes from the
    /// credentials.
    pub fn with_http(mut self, http: HttpClientBuilder) -> Self {
        self.http = http;
        self
    }

    /// Permits requests with tokens over plain HTTP to loopback addresses, for a TLS sidecar and for tests.
    pub fn with_plain_loopback(mut self) -> Self {
        self.plain_loopback = true;
        self
    }

    /// Stores tokens in `cache`. The default is a [`MemoryTokenCache`] with at most 32 tokens of the system and 256 of
    /// users; [`MemoryTokenCache::builder`] sets other limits.
    pub fn with_cache(mut self, cache: Arc<dyn AsyncTokenCache>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Sets a lease: among the processes that share its store, one at a time obtains a token. Without a lease, each
    /// process obtains its own tokens.
    pub fn with_lease(mut self, lease: Arc<dyn RefreshLease>) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets the clock that determines the expiry of tokens, certificates and cached tool lists.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the policy for the expiry and the refresh of tokens. By default, a token is refreshed 30 s before its
    /// expiry, or after three quarters of its lifetime if that is later; a token without an expiry is used for 300 s.
    pub fn with_expiry(mut self, expiry: ExpiryPolicy) -> Self {
        self.expiry = Some(expiry);
        self
    }

    /// Sets the maximum number of servers, or of agents, to which a discovery sends requests in parallel. The default
    /// is 8, the minimum 1.
    pub fn with_parallel_servers(mut self, max_servers: usize) -> Self {
        self.parallel_servers = max_servers.max(1);
        self
    }

    /// Sets the lifetime of cached tool lists and agent cards, unless the server specifies another. The default is
    /// 300 s; 0 disables both caches.
    pub fn with_tool_lifetime(mut self, lifetime: Duration) -> Self {
        self.tool_lifetime = lifetime;
        self
    }

    /// Sets the time limit for the tool list of one server, and for the card of one agent. The default is 10 s.
    pub fn with_discovery_timeout(mut self, timeout: Duration) -> Self {
        self.discovery_timeout = timeout;
        self
    }

    /// Sets the time limit of a tool call, which is also the read timeout of a connection. The default is 300 s.
    pub fn with_call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Sets the minimum interval between two reads of the credential source. The default is 5 s. The source is read
    /// when a request is sent, and immediately after a request that could not be sent.
    pub fn with_watch_interval(mut self, interval: Duration) -> Self {
        self.watch_interval = interval;
        self
    }

    /// Adds A2A agents to those of the directory.
    pub fn with_agents(mut self, agents: impl IntoIterator<Item = AgentAddress>) -> Self {
        self.agents.extend(agents);
        self
    }

    /// Permits agents to have interfaces at the origin of `url`. By default, all interfaces of an agent must be at the
    /// origin of its own URL; other cards are refused.
    pub fn with_agent_origin(mut self, url: &Url) -> Self {
        self.agent_origins.push(Authority::of(url));
        self
    }

    /// Builds the gateway. It reads no credentials and sends no request before its first use.
    pub fn build(self) -> Gateway {
        let http = self.http.with_read_timeout(self.call_timeout);
        let default_expiry = ExpiryPolicy::builder().with_buffer(MAX_REFRESH_BUFFER).build().unwrap_or_default();
        let memory_cache = || Arc::new(MemoryTokenCache::builder().with_clock(self.clock.clone()).build());
        let settings = Settings {
            plain_loopback: self.plain_loopback,
            cache: self.cache.unwrap_or_else(|| memory_cache()),
            lease: self.lease,
            clock: self.clock.clone(),
            expiry: self.expiry.unwrap_or(default_expiry),
            logins: LoginCounters::new(),
        };
        let http = if self.plain_loopback { http.with_plain_loopback() } else { http };
        let setup = IdentitySetup { http, settings };
        let identities = Arc::new(Identities::new(self.credentials, setup, self.watch_interval));
        let tool_cache = Arc::new(ToolCache::new(self.tool_lifetime, self.clock.clone()));
        Gateway(Arc::new(Core {
            sessions: Sessions::new(identities.clone(), tool_cache.clone(), self.plain_loopback),
            identities,
            directory: self.directory,
            tool_cache,
            agents: AgentCards {
                cache: CardCache::new(self.tool_lifetime, self.clock),
                added_agents: self.agents,
                permitted_origins: self.agent_origins,
                plain_loopback: self.plain_loopback,
            },
            parallel_servers: self.parallel_servers,
            discovery_timeout: self.discovery_timeout,
            call_timeout: self.call_timeout,
        }))
    }
}

impl fmt::Debug for GatewayBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { credentials, directory, .. } = self;
        let mut debug_struct = formatter.debug_struct("GatewayBuilder");
        debug_struct.field("credentials", credentials).field("directory", directory).finish_non_exhaustive()
    }
}
