use async_trait::async_trait;
use moka::ops::compute::{CompResult, Op};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use std::fmt;
use std::sync::Arc;

use crate::{AccessToken, Clock, SystemClock, TokenCache, TokenError, TokenKey};

/// An in-memory token cache.
///
/// Tokens of the client itself and tokens of users (keys with a subject) have separate limits, so that many users do
/// not evict the client's few tokens. The least recently used token is evicted first.
///
/// `get` does not return expired tokens. The cache implements [`TokenCache`] and
/// [`AsyncTokenCache`](crate::AsyncTokenCache). Clones are cheap and share all state.
#[derive(Clone)]
pub struct MemoryTokenCache {
    system: Cache<TokenKey, AccessToken>,
    users: Cache<TokenKey, AccessToken>,
    clock: Arc<dyn Clock>,
}

/// A builder for [`MemoryTokenCache`].
#[derive(Clone, Debug)]
pub struct MemoryTokenCacheBuilder {
    system: u64,
    users: u64,
    clock: Arc<dyn Clock>,
}

impl MemoryTokenCache {
    /// Creates a cache for 32 tokens of clients and 256 of users, with the system clock.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder with the limits of [`new`](Self::new).
    pub fn builder() -> MemoryTokenCacheBuilder {
        MemoryTokenCacheBuilder { system: 32, users: 256, clock: Arc::new(SystemClock) }
    }

    fn class(&self, key: &TokenKey) -> &Cache<TokenKey, AccessToken> {
        if key.subject().is_some() { &self.users } else { &self.system }
    }
}

impl MemoryTokenCacheBuilder {
    /// Sets the maximum number of tokens of clients. The default is 32.
    pub fn with_system_tokens(mut self, bound: u64) -> Self {
        self.system = bound;
        self
    }

    /// Sets the maximum number of tokens of users. The default is 256.
    pub fn with_user_tokens(mut self, bound: u64) -> Self {
        self.users = bound;
        self
    }

    /// Sets the clock that determines whether a token has expired. The default is the system clock.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the cache.
    pub fn build(self) -> MemoryTokenCache {
        // The library's default policy may reject a new entry in favor of a frequently used old one.
        let bounded = |bound| Cache::builder().max_capacity(bound).eviction_policy(EvictionPolicy::lru()).build();
        MemoryTokenCache { system: bounded(self.system), users: bounded(self.users), clock: self.clock }
    }
}

impl Default for MemoryTokenCache {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryTokenCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryTokenCache").finish_non_exhaustive()
    }
}

/// The methods of [`TokenCache`], which do not block and cannot fail. They also apply where both traits are in scope.
impl MemoryTokenCache {
    /// Returns the token cached under `key`, unless it has expired.
    pub fn get(&self, key: &TokenKey) -> Option<AccessToken> {
        self.class(key).get(key).filter(|token| token.expires_at().is_none_or(|end| self.clock.now() < end))
    }

    /// Stores `token` under `key`, replacing any previous one.
    pub fn set(&self, key: &TokenKey, token: &AccessToken) {
        let class = self.class(key);
        // Not `insert`, which can run between the two steps of `delete_if`.
        class.entry(key.clone()).and_compute_with(|_| Op::Put(token.clone()));
        // The library enforces the limit and the order of use lazily. It does so here, because new tokens are rare.
        class.run_pending_tasks();
    }

    /// Deletes the token under `key`.
    pub fn delete(&self, key: &TokenKey) {
        self.class(key).invalidate(key);
    }

    /// Deletes the tokens under all keys.
    pub fn clear(&self) {
        self.system.invalidate_all();
        self.users.invalidate_all();
    }

    /// Deletes the token under `key` if it is the same as `rejected`. Returns true if it was deleted.
    pub fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> bool {
        let outcome = self.class(key).entry(key.clone()).and_compute_with(|kept| match kept {
            Some(kept) if kept.value().is_same(rejected) => Op::Remove,
            _ => Op::Nop,
        });
        matches!(outcome, CompResult::Removed(_))
    }
}

impl TokenCache for MemoryTokenCache {
    fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        Ok(self.get(key))
    }

    fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        self.set(key, token);
        Ok(())
    }

    fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        self.delete(key);
        Ok(())
    }

    fn clear(&self) -> Result<(), TokenError> {
        self.clear();
        Ok(())
    }

    fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        Ok(self.delete_if(key, rejected))
    }

    fn get_local(&self, key: &TokenKey) -> Option<Option<AccessToken>> {
        Some(self.class(key).get(key))
    }

    fn is_persistent(&self) -> bool {
        false
    }
}

#[async_trait]
impl crate::AsyncTokenCache for MemoryTokenCache {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        Ok(self.get(key))
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        self.set(key, token);
        Ok(())
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        self.delete(key);
        Ok(())
    }

    async fn clear(&self) -> Result<(), TokenError> {
        self.clear();
        Ok(())
    }

    async fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        Ok(self.delete_if(key, rejected))
    }

    fn get_local(&self, key: &TokenKey) -> Option<Option<AccessToken>> {
        Some(self.class(key).get(key))
    }

    fn is_persistent(&self) -> bool {
        false
    }
}
