use std::sync::Arc;
use std::time::Duration;

use super::TokenSource;
use super::adapter::BlockingAdapter;
use crate::{Clock, ExpiryPolicy, RefreshLease, SourceBuildError, TokenCache, TokenKey, TokenProvider};

/// A builder for a blocking [`TokenSource`].
#[derive(Clone, Debug)]
pub struct TokenSourceBuilder(crate::TokenSourceBuilder);

impl TokenSourceBuilder {
    pub(super) fn new(key: TokenKey, provider: Arc<dyn TokenProvider>) -> Self {
        Self(crate::TokenSource::builder(key, BlockingAdapter::new(provider)))
    }

    /// Sets the principal: see [`with_identity`](crate::TokenSourceBuilder::with_identity).
    pub fn with_identity(self, identity: impl Into<String>) -> Self {
        Self(self.0.with_identity(identity))
    }

    /// Sets the cache. The default is the memory of this process.
    pub fn with_cache(self, cache: Arc<dyn TokenCache>) -> Self {
        Self(self.0.with_cache(Arc::new(BlockingAdapter::new(cache))))
    }

    /// Disables caching, so that each call obtains a new token. Concurrent calls still share one attempt.
    pub fn without_cache(self) -> Self {
        Self(self.0.without_cache())
    }

    /// Sets the lease, which lets only one of the processes that share its store obtain a token at a time.
    pub fn with_lease(self, lease: Arc<dyn RefreshLease>) -> Self {
        Self(self.0.with_lease(lease))
    }

    /// Sets the clock that determines the expiry of tokens. The default is the system clock.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self(self.0.with_clock(clock))
    }

    /// Sets the policy for the expiry and the refresh of tokens.
    pub fn with_expiry(self, expiry: ExpiryPolicy) -> Self {
        Self(self.0.with_expiry(expiry))
    }

    /// Sets the lifetime of local copies: see [`with_local_copy`](crate::TokenSourceBuilder::with_local_copy).
    pub fn with_local_copy(self, lifetime: Duration) -> Self {
        Self(self.0.with_local_copy(lifetime))
    }

    /// Sets the timeout of one provider call: see
    /// [`with_attempt_timeout`](crate::TokenSourceBuilder::with_attempt_timeout).
    pub fn with_attempt_timeout(self, limit: Duration) -> Self {
        Self(self.0.with_attempt_timeout(limit))
    }

    /// Builds the source.
    ///
    /// # Errors
    ///
    /// The configuration is not valid: see [`SourceBuildError`].
    pub fn build(self) -> Result<TokenSource, SourceBuildError> {
        self.0.build().map(TokenSource)
    }
}
