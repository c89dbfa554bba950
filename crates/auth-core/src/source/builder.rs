use std::sync::Arc;
use std::time::Duration;

use super::{Inner, TokenSource};
use crate::cache::NoTokenCache;
use crate::flights::Flights;
use crate::health::CacheHealth;
use crate::{
    AsyncTokenCache, AsyncTokenProvider, Clock, ExpiryPolicy, MemoryTokenCache, RefreshLease, SystemClock, TokenKey,
};

/// How long a copy of a token from a remote cache is used without asking again.
const LOCAL_COPY: Duration = Duration::from_secs(5);

/// Sets up a [`TokenSource`].
#[derive(Clone, Debug)]
pub struct TokenSourceBuilder {
    key: TokenKey,
    provider: Arc<dyn AsyncTokenProvider>,
    cache: Option<Arc<dyn AsyncTokenCache>>,
    lease: Option<Arc<dyn RefreshLease>>,
    clock: Arc<dyn Clock>,
    expiry: ExpiryPolicy,
    local_copy: Duration,
}

impl TokenSourceBuilder {
    pub(super) fn new(key: TokenKey, provider: Arc<dyn AsyncTokenProvider>) -> Self {
        Self {
            key,
            provider,
            cache: None,
            lease: None,
            clock: Arc::new(SystemClock),
            expiry: ExpiryPolicy::default(),
            local_copy: LOCAL_COPY,
        }
    }

    /// Keeps tokens in `cache`; in the memory of this process unless something is said.
    pub fn with_cache(mut self, cache: Arc<dyn AsyncTokenCache>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Keeps no tokens: the provider is asked on every call, though once for all who wait at a time.
    pub fn without_cache(mut self) -> Self {
        self.local_copy = Duration::ZERO;
        self.with_cache(Arc::new(NoTokenCache))
    }

    /// Lets processes that share a store obtain one token for all.
    pub fn with_lease(mut self, lease: Arc<dyn RefreshLease>) -> Self {
        self.lease = Some(lease);
        self
    }

    /// The clock that decides when a token has ended.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// When tokens end and are renewed.
    pub fn with_expiry(mut self, expiry: ExpiryPolicy) -> Self {
        self.expiry = expiry;
        self
    }

    /// How long a copy of a token from a cache that is not in memory is used without asking again:
    /// as long, a rejection by another process may cost one 401 here. 5 s unless something is said; 0
    /// for none. No copy outlives its token.
    pub fn with_local_copy(mut self, time: Duration) -> Self {
        self.local_copy = time;
        self
    }

    /// The source.
    pub fn build(self) -> TokenSource {
        let clock = self.clock;
        let cache =
            self.cache.unwrap_or_else(|| Arc::new(MemoryTokenCache::builder().with_clock(clock.clone()).build()));
        TokenSource(Arc::new(Inner {
            key: self.key,
            provider: self.provider,
            cache,
            lease: self.lease,
            clock,
            expiry: self.expiry,
            local_copy: self.local_copy,
            flights: Flights::default(),
            health: CacheHealth::default(),
        }))
    }
}
