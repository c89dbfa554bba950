use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{Handle, Inner, TokenSource};
use crate::cache::NoTokenCache;
use crate::source::flights::Flights;
use crate::source::health::CacheHealth;
use crate::source::redemption::new_owner;
use crate::{
    AsyncTokenCache, AsyncTokenProvider, Clock, ExpiryPolicy, MemoryTokenCache, RefreshLease, SystemClock, TokenKey,
};

/// The default time in which a copy of a token from a remote cache is used.
const DEFAULT_LOCAL_COPY_TIME: Duration = Duration::from_secs(5);
/// The default timeout of one provider call.
const DEFAULT_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(120);

/// The start of the identity of tokens whose principal is not named.
pub(super) const UNNAMED: &str = "unnamed ";

/// A builder for [`TokenSource`].
#[derive(Clone, Debug)]
pub struct TokenSourceBuilder {
    key: TokenKey,
    identity: Option<String>,
    provider: Arc<dyn AsyncTokenProvider>,
    cache: Option<Arc<dyn AsyncTokenCache>>,
    lease: Option<Arc<dyn RefreshLease>>,
    clock: Arc<dyn Clock>,
    expiry: ExpiryPolicy,
    local_copy: Duration,
    attempt_timeout: Duration,
}

/// The error of a source whose parts do not fit together. The message names the method to call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceBuildError {
    /// Tokens of different principals would be stored under one key.
    #[error(
        "the token cache is persistent, and the provider does not name its principal: call `.with_identity(\"…\")` with \
         a name that is different for every user, client and tenant"
    )]
    NoIdentity,
    /// Two processes would redeem one single-use credential.
    #[error(
        "the provider redeems a single-use credential and the token cache is persistent: call `.with_lease(…)`, usually \
         with the store that is the cache"
    )]
    NoLease,
    /// The tokens of one process would not reach the others.
    #[error("a lease needs the cache that it protects: call `.with_cache(…)` with the store that is the lease")]
    NoCache,
    /// No attempt could succeed.
    #[error("the attempt timeout is zero: call `.with_attempt_timeout(…)` with the longest time of one provider call")]
    AttemptTimeout,
}

impl TokenSourceBuilder {
    pub(super) fn new(key: TokenKey, provider: Arc<dyn AsyncTokenProvider>) -> Self {
        Self {
            key,
            identity: None,
            provider,
            cache: None,
            lease: None,
            clock: Arc::new(SystemClock),
            expiry: ExpiryPolicy::default(),
            local_copy: DEFAULT_LOCAL_COPY_TIME,
            attempt_timeout: DEFAULT_ATTEMPT_TIMEOUT,
        }
    }

    /// Sets the principal of the tokens, replacing the [identity](AsyncTokenProvider::identity) of the provider: a name
    /// that differs for every user, client and tenant. Sources with the same key, identity and cache share their
    /// tokens.
    pub fn with_identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Sets the cache. The default is the memory of this process.
    pub fn with_cache(mut self, cache: Arc<dyn AsyncTokenCache>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Sets a store that is cache and lease, such as a folder or Redis: [`with_cache`](Self::with_cache) and
    /// [`with_lease`](Self::with_lease) in one call.
    pub fn with_store<S: AsyncTokenCache + RefreshLease + 'static>(self, store: Arc<S>) -> Self {
        self.with_cache(store.clone()).with_lease(store)
    }

    /// Disables caching: each call obtains a new token, except that concurrent calls share one attempt.
    pub fn without_cache(mut self) -> Self {
        self.local_copy = Duration::ZERO;
        self.with_cache(Arc::new(NoTokenCache))
    }

    /// Sets the lease, which lets only one of the processes that share its store obtain a token at a time.
    pub fn with_lease(mut self, lease: Arc<dyn RefreshLease>) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets the clock that determines the expiry of tokens. The default is the system clock.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the policy for the expiry and the refresh of tokens.
    pub fn with_expiry(mut self, expiry: ExpiryPolicy) -> Self {
        self.expiry = expiry;
        self
    }

    /// Sets the time in which a copy of a token from a remote cache is used without reading the cache again. In that
    /// time, a rejection by another process may cause one 401 here. The default is 5 s; zero disables copies. No copy
    /// outlives its token.
    pub fn with_local_copy(mut self, time: Duration) -> Self {
        self.local_copy = time;
        self
    }

    /// Sets the timeout of one provider call, after which all waiting callers get an error. The default is 2 minutes.
    /// An [interactive](AsyncTokenProvider::is_interactive) provider has no timeout. The time to acquire the lease does
    /// not count; the store bounds it.
    pub fn with_attempt_timeout(mut self, limit: Duration) -> Self {
        self.attempt_timeout = limit;
        self
    }

    /// Builds the source.
    ///
    /// # Errors
    ///
    /// The parts do not fit together: see [`SourceBuildError`].
    pub fn build(self) -> Result<TokenSource, SourceBuildError> {
        let is_persistent = self.cache.as_ref().is_some_and(|cache| cache.is_persistent());
        if self.attempt_timeout.is_zero() {
            return Err(SourceBuildError::AttemptTimeout);
        }
        if self.lease.is_some() && self.cache.is_none() {
            return Err(SourceBuildError::NoCache);
        }
        if is_persistent && self.lease.is_none() && self.provider.needs_lease() {
            return Err(SourceBuildError::NoLease);
        }
        if is_persistent && self.known_identity().is_none() {
            return Err(SourceBuildError::NoIdentity);
        }
        Ok(self.build_in_memory())
    }

    /// Returns the configured identity, or that of the key, or that of the provider.
    fn known_identity(&self) -> Option<String> {
        let given = self.identity.clone().or_else(|| self.key.identity().map(str::to_owned));
        given.or_else(|| self.provider.identity())
    }

    /// Builds a source that is known to be valid. Without a named principal, its tokens are not shared.
    pub(super) fn build_in_memory(self) -> TokenSource {
        let identity = self.known_identity().unwrap_or_else(|| format!("{UNNAMED}{:032x}", fastrand::u128(..)));
        let clock = self.clock;
        let cache =
            self.cache.unwrap_or_else(|| Arc::new(MemoryTokenCache::builder().with_clock(clock.clone()).build()));
        let attempt_timeout = (!self.provider.is_interactive()).then_some(self.attempt_timeout);
        TokenSource(Arc::new(Handle(Arc::new(Inner {
            owner: new_owner(),
            is_closed: AtomicBool::new(false),
            key: self.key.for_identity(identity),
            provider: self.provider,
            cache,
            lease: self.lease,
            clock,
            expiry: self.expiry,
            local_copy: self.local_copy,
            attempt_timeout,
            flights: Flights::default(),
            health: CacheHealth::default(),
        }))))
    }
}
