use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use auth_core::{AsyncTokenCache, Clock, ExpiryPolicy, MemoryTokenCache, RefreshLease, SystemClock};
use auth_http::{HttpClient, HttpClientBuilder};

use super::{Gateway, Inner};
use crate::credentials::CredentialSource;
use crate::identity::{Identities, Setup};
use crate::server::ServerDirectory;
use crate::session::Sessions;
use crate::toolbox::Toolbox;

/// A token is renewed so long before its end, at most.
const BUFFER: Duration = Duration::from_secs(30);
/// So many servers are asked at the same time.
const PARALLEL_SERVERS: usize = 8;
/// What a server has said of its tools is kept for so long.
const TOOL_LIFETIME: Duration = Duration::from_secs(300);
/// A server has so long to say which tools it has.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// A tool has so long to do its work.
const CALL_TIMEOUT: Duration = Duration::from_secs(300);
/// The source of credentials is asked so often, at most.
const WATCH: Duration = Duration::from_secs(5);

/// Sets up a [`Gateway`]. Everything has a default.
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
    watch: Duration,
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
            parallel_servers: PARALLEL_SERVERS,
            tool_lifetime: TOOL_LIFETIME,
            discovery_timeout: DISCOVERY_TIMEOUT,
            call_timeout: CALL_TIMEOUT,
            watch: WATCH,
        }
    }

    /// Roots, a proxy: how connections are set up. The client's certificate comes from the credentials.
    pub fn with_http(mut self, http: HttpClientBuilder) -> Self {
        self.http = http;
        self
    }

    /// Allows plain http to this machine, with tokens: for what does the TLS beside the agent, and for tests.
    pub fn with_plain_loopback(mut self) -> Self {
        self.plain_loopback = true;
        self
    }

    /// Keeps tokens in `cache`. Unless something is said they are kept in memory, 32 of the system and 256 of users;
    /// for other bounds, see [`MemoryTokenCache::builder`].
    pub fn with_cache(mut self, cache: Arc<dyn AsyncTokenCache>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Lets processes that share a store obtain one token for all.
    pub fn with_lease(mut self, lease: Arc<dyn RefreshLease>) -> Self {
        self.lease = Some(lease);
        self
    }

    /// The clock that decides when tokens, certificates and what is known of tools have ended.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// When tokens end and are renewed: unless something is said, 30 s before their end, or a quarter of their lifetime
    /// if that is less; a token that states no end ends after 300 s.
    pub fn with_expiry(mut self, expiry: ExpiryPolicy) -> Self {
        self.expiry = Some(expiry);
        self
    }

    /// How many servers are asked for their tools at the same time: 8 unless something is said; at least 1.
    pub fn with_parallel_servers(mut self, bound: usize) -> Self {
        self.parallel_servers = bound.max(1);
        self
    }

    /// How long is kept what a server has said of its tools: 300 s unless something is said; 0 to ask it every time.
    pub fn with_tool_lifetime(mut self, lifetime: Duration) -> Self {
        self.tool_lifetime = lifetime;
        self
    }

    /// How long a server has to say which tools it has: 10 s unless something is said.
    pub fn with_discovery_timeout(mut self, timeout: Duration) -> Self {
        self.discovery_timeout = timeout;
        self
    }

    /// How long a tool has to do its work: 300 s unless something is said. It is the longest silence on a connection,
    /// too.
    pub fn with_call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// How often the source of credentials is asked whether they have changed, at most: every 5 s unless something is
    /// said. It is asked when a request is sent, and at once when one could not be sent.
    pub fn with_watch_interval(mut self, interval: Duration) -> Self {
        self.watch = interval;
        self
    }

    /// The gateway. Nothing is read or asked before it is used.
    pub fn build(self) -> Gateway {
        let http = self.http.with_longest_silence(self.call_timeout);
        let standard = ExpiryPolicy::builder().with_buffer(BUFFER).build().unwrap_or_default();
        let memory = || Arc::new(MemoryTokenCache::builder().with_clock(self.clock.clone()).build());
        let setup = Setup {
            http: if self.plain_loopback { http.with_plain_loopback() } else { http },
            cache: self.cache.unwrap_or_else(|| memory()),
            lease: self.lease,
            clock: self.clock.clone(),
            expiry: self.expiry.unwrap_or(standard),
        };
        let identities = Arc::new(Identities::new(self.credentials, setup, self.watch));
        let toolbox = Arc::new(Toolbox::new(self.tool_lifetime, self.clock));
        Gateway(Arc::new(Inner {
            sessions: Sessions::new(identities.clone(), toolbox.clone(), self.plain_loopback),
            identities,
            directory: self.directory,
            toolbox,
            parallel_servers: self.parallel_servers,
            discovery_timeout: self.discovery_timeout,
            call_timeout: self.call_timeout,
        }))
    }
}

impl fmt::Debug for GatewayBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { credentials, directory, .. } = self;
        let mut shown = formatter.debug_struct("GatewayBuilder");
        shown.field("credentials", credentials).field("directory", directory).finish_non_exhaustive()
    }
}
