use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{CloseOnDrop, Inner, TokenSource};
use crate::cache::NoTokenCache;
use crate::source::flights::Flights;
use crate::source::health::CacheHealth;
use crate::source::redemption::new_owner_id;
use crate::{
    AsyncTokenCache, AsyncTokenProvider, Clock, ExpiryPolicy, MemoryTokenCache, RefreshLease, SystemClock, TokenKey,
};

/// The default time for which a copy of a token from a remote cache is used without reading the cache again.
const DEFAULT_LOCAL_COPY_LIFETIME: Duration = Duration::from_secs(5);
/// The default timeout of one provider call.
const DEFAULT_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(120);

/// The prefix of the random identity of a source whose provider does not name its principal.
pub(super) const UNNAMED_PREFIX: &str = "unnamed ";

/// A builder for [`TokenSource`].
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use auth_core::{MemoryTokenCache, Secret, TokenKey, TokenSource, static_token};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let provider = static_token(Secret::new("a-token"))?;
/// let source = TokenSource::builder(TokenKey::new("https://issuer.example/"), provider)
///     .with_cache(Arc::new(MemoryTokenCache::new()))
///     .with_attempt_timeout(Duration::from_secs(30))
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct TokenSourceBuilder {
    key: TokenKey,
    identity: Option<String>,
    provider: Arc<dyn AsyncTokenProvider>,
    cache: Option<Arc<dyn AsyncTokenCache>>,
    lease: Option<Arc<dyn RefreshLease>>,
    clock: Arc<dyn Clock>,
    expiry: ExpiryPolicy,
    local_copy_lifetime: Duration,
    attempt_timeout: Duration,
}

/// An error of a [`TokenSourceBuilder`] with an invalid configuration. The message names the method to call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceBuildError {
    /// The cache is persistent, and tokens of different principals would be stored under one key.
    #[error(
        "the token cache is persistent, and the provider does not name its principal: call `.with_identity(\"…\")` \
         with a name that is different for every user, client and tenant"
    )]
    MissingIdentity,
    /// The cache is persistent, and two processes might redeem the same single-use credential.
    #[error(
        "the provider redeems a single-use credential and the token cache is persistent: call `.with_lease(…)`, \
         usually with the store that is also the cache"
    )]
    MissingLease,
    /// The source has a lease and no cache, so the tokens of one process would not be available to the others.
    #[error("a lease needs the cache that it protects: call `.with_cache(…)` with the store that is also the lease")]
    MissingCache,
    /// The attempt timeout is zero, so no attempt could succeed.
    #[error(
        "the attempt timeout is zero: call `.with_attempt_timeout(…)` with the maximum duration of a provider call"
    )]
    ZeroAttemptTimeout,
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
            local_copy_lifetime: DEFAULT_LOCAL_COPY_LIFETIME,
            attempt_timeout: DEFAULT_ATTEMPT_TIMEOUT,
        }
    }

    /// Sets the identity of the principal of the tokens: a name that is different for every user, client and tenant. It
    /// replaces the [identity](AsyncTokenProvider::identity) of the provider. Sources with the same key, identity and
    /// cache share their tokens.
    pub fn with_identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Sets the cache. The default is the memory of this process.
    pub fn with_cache(mut self, cache: Arc<dyn AsyncTokenCache>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Sets a store that is both the cache and the lease, such as a folder or Redis. Equivalent to
    /// [`with_cache`](Self::with_cache) and [`with_lease`](Self::with_lease).
    pub fn with_store<S: AsyncTokenCache + RefreshLease + 'static>(self, store: Arc<S>) -> Self {
        self.with_cache(store.clone()).with_lease(store)
    }

    /// Disables caching, so that each call obtains a new token. Concurrent calls still share one attempt.
    pub fn without_cache(mut self) -> Self {
        self.local_copy_lifetime = Duration::ZERO;
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

    /// Sets the time for which a copy of a token from a remote cache is used without reading the cache again. If
    /// another process rejects the token during that time, this source still serves its copy, and one request gets a
    /// 401. A copy is not used after its token has expired. The default is 5 s; zero disables copies.
    pub fn with_local_copy(mut self, lifetime: Duration) -> Self {
        self.local_copy_lifetime = lifetime;
        self
    }

    /// Sets the timeout of one provider call, after which all waiting callers get an error. The default is 2 minutes.
    /// The calls of an [interactive](AsyncTokenProvider::is_interactive) provider have no timeout. The time to acquire
    /// the lease is not included, because the store limits it.
    pub fn with_attempt_timeout(mut self, limit: Duration) -> Self {
        self.attempt_timeout = limit;
        self
    }

    /// Builds the source.
    ///
    /// # Errors
    ///
    /// The configuration is not valid: see [`SourceBuildError`].
    pub fn build(self) -> Result<TokenSource, SourceBuildError> {
        let is_persistent = self.cache.as_ref().is_some_and(|cache| cache.is_persistent());
        if self.attempt_timeout.is_zero() {
            return Err(SourceBuildError::ZeroAttemptTimeout);
        }
        if self.lease.is_some() && self.cache.is_none() {
            return Err(SourceBuildError::MissingCache);
        }
        if is_persistent && self.lease.is_none() && self.provider.needs_lease() {
            return Err(SourceBuildError::MissingLease);
        }
        if is_persistent && self.resolved_identity().is_none() {
            return Err(SourceBuildError::MissingIdentity);
        }
        Ok(self.build_in_memory())
    }

    /// Returns the first identity that is set: that of this builder, of the key, or of the provider.
    fn resolved_identity(&self) -> Option<String> {
        let configured_identity = self.identity.clone().or_else(|| self.key.identity().map(str::to_owned));
        configured_identity.or_else(|| self.provider.identity())
    }

    /// Builds the source without checking its configuration. Without an identity, the source gets a random one, so that
    /// it does not share its tokens with other sources.
    pub(super) fn build_in_memory(self) -> TokenSource {
        let random_identity = || format!("{UNNAMED_PREFIX}{:032x}", fastrand::u128(..));
        let identity = self.resolved_identity().unwrap_or_else(random_identity);
        let clock = self.clock;
        let cache =
            self.cache.unwrap_or_else(|| Arc::new(MemoryTokenCache::builder().with_clock(clock.clone()).build()));
        let attempt_timeout = (!self.provider.is_interactive()).then_some(self.attempt_timeout);
        TokenSource(Arc::new(CloseOnDrop(Arc::new(Inner {
            owner_id: new_owner_id(),
            is_closed: AtomicBool::new(false),
            key: self.key.for_identity(identity),
            provider: self.provider,
            cache,
            lease: self.lease,
            clock,
            expiry: self.expiry,
            local_copy_lifetime: self.local_copy_lifetime,
            attempt_timeout,
            flights: Flights::default(),
            health: CacheHealth::default(),
        }))))
    }
}
