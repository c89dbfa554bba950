use std::sync::Arc;
use std::time::Duration;

use super::TokenSource;
use super::adapter::OnThread;
use crate::{Clock, ExpiryPolicy, RefreshLease, SourceBuildError, TokenCache, TokenKey, TokenProvider};

/// Builds a blocking [`TokenSource`].
#[derive(Clone, Debug)]
pub struct TokenSourceBuilder(crate::TokenSourceBuilder);

impl TokenSourceBuilder {
    pub(super) fn new(key: TokenKey, provider: Arc<dyn TokenProvider>) -> Self {
        Self(crate::TokenSource::builder(key, OnThread::new(provider)))
    }

    /// Sets the principal: see [`with_identity`](crate::TokenSourceBuilder::with_identity).
    pub fn with_identity(self, identity: impl Into<String>) -> Self {
        Self(self.0.with_identity(identity))
    }

    /// Sets the cache. Default: the memory of this process.
    pub fn with_cache(self, cache: Arc<dyn TokenCache>) -> Self {
        Self(self.0.with_cache(Arc::new(OnThread::new(cache))))
    }

    /// Caches no tokens: the provider is called each time, once for callers that wait at the same time.
    pub fn without_cache(self) -> Self {
        Self(self.0.without_cache())
    }

    /// Sets the lease, by which processes that share a store obtain one token for all.
    pub fn with_lease(self, lease: Arc<dyn RefreshLease>) -> Self {
        Self(self.0.with_lease(lease))
    }

    /// Sets the clock that decides when a token has expired. Default: the clock of the system.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self(self.0.with_clock(clock))
    }

    /// Sets the policy that decides when tokens expire and are renewed.
    pub fn with_expiry(self, expiry: ExpiryPolicy) -> Self {
        Self(self.0.with_expiry(expiry))
    }

    /// Sets how long a copy is used: see [`with_local_copy`](crate::TokenSourceBuilder::with_local_copy).
    pub fn with_local_copy(self, time: Duration) -> Self {
        Self(self.0.with_local_copy(time))
    }

    /// Sets the longest time of one call of the provider: see
    /// [`with_attempt_timeout`](crate::TokenSourceBuilder::with_attempt_timeout).
    pub fn with_attempt_timeout(self, limit: Duration) -> Self {
        Self(self.0.with_attempt_timeout(limit))
    }

    /// Builds the source.
    ///
    /// # Errors
    ///
    /// The parts do not fit together: see [`SourceBuildError`].
    pub fn build(self) -> Result<TokenSource, SourceBuildError> {
        self.0.build().map(TokenSource)
    }
}
