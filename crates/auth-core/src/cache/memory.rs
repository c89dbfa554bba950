use async_trait::async_trait;
use moka::ops::compute::{CompResult, Op};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use std::fmt;
use std::sync::Arc;

use crate::{AccessToken, Clock, SystemClock, TokenCache, TokenError, TokenKey};

/// An in-memory token cache.
///
/// Tokens of users, whose keys have a subject, and tokens of the client itself have separate limits, so that many users
/// do not evict the client's few tokens. The least recently used token is evicted first.
///
/// `get` does not return expired tokens. The cache implements [`TokenCache`] and
/// [`AsyncTokenCache`](crate::AsyncTokenCache). Clones are cheap and share all state.
#[derive(Clone)]
pub struct MemoryTokenCache {
    client_tokens: Cache<TokenKey, AccessToken>,
    user_tokens: Cache<TokenKey, AccessToken>,
    clock: Arc<dyn Clock>,
}

/// A builder for [`MemoryTokenCache`].
#[derive(Clone, Debug)]
pub struct MemoryTokenCacheBuilder {
    max_client_tokens: u64,
    max_user_tokens: u64,
    clock: Arc<dyn Clock>,
}

impl MemoryTokenCache {
    /// Creates a cache for 32 tokens of clients and 256 tokens of users, with the system clock.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder with the limits of [`new`](Self::new).
    pub fn builder() -> MemoryTokenCacheBuilder {
        MemoryTokenCacheBuilder { max_client_tokens: 32, max_user_tokens: 256, clock: Arc::new(SystemClock) }
    }

    /// Returns the cache of users or of clients, depending on the key.
    fn partition(&self, key: &TokenKey) -> &Cache<TokenKey, AccessToken> {
        if key.subject().is_some() { &self.user_tokens } else { &self.client_tokens }
    }
}

impl MemoryTokenCacheBuilder {
    /// Sets the maximum number of tokens whose key has no subject. The default is 32.
    pub fn with_max_client_tokens(mut self, count: u64) -> Self {
        self.max_client_tokens = count;
        self
    }

    /// Sets the maximum number of tokens whose key has a subject. The default is 256.
    pub fn with_max_user_tokens(mut self, count: u64) -> Self {
        self.max_user_tokens = count;
        self
    }

    /// Sets the clock that determines whether a token has expired. The default is the system clock.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the cache.
    pub fn build(self) -> MemoryTokenCache {
        // With its default policy (TinyLFU), moka may refuse a new entry in favor of a frequently used old one.
        let lru_cache =
            |max_capacity| Cache::builder().max_capacity(max_capacity).eviction_policy(EvictionPolicy::lru()).build();
        MemoryTokenCache {
            client_tokens: lru_cache(self.max_client_tokens),
            user_tokens: lru_cache(self.max_user_tokens),
            clock: self.clock,
        }
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

/// Inherent versions of the [`TokenCache`] methods, which neither block nor fail. Inherent methods take precedence over
/// trait methods, so calls are unambiguous even if both cache traits are in scope.
impl MemoryTokenCache {
    /// Returns the token cached under `key`, unless it has expired.
    pub fn get(&self, key: &TokenKey) -> Option<AccessToken> {
        let is_valid = |token: &AccessToken| token.expires_at().is_none_or(|expires_at| self.clock.now() < expires_at);
        self.partition(key).get(key).filter(is_valid)
    }

    /// Stores `token` under `key`, replacing any previous one.
    pub fn set(&self, key: &TokenKey, token: &AccessToken) {
        let partition = self.partition(key);
        // moka runs `and_compute_with` calls for one key one after the other. An `insert` could run between the
        // comparison and the deletion of `delete_if`, which would then delete the new token.
        partition.entry(key.clone()).and_compute_with(|_| Op::Put(token.clone()));
        // moka evicts entries lazily. Evicting them on every `set` is cheap, because new tokens are rare.
        partition.run_pending_tasks();
    }

    /// Deletes the token under `key`.
    pub fn delete(&self, key: &TokenKey) {
        self.partition(key).invalidate(key);
    }

    /// Deletes the tokens under all keys.
    pub fn clear(&self) {
        self.client_tokens.invalidate_all();
        self.user_tokens.invalidate_all();
    }

    /// Deletes the token under `key` if it is the same as `rejected`. Returns true if it was deleted.
    pub fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> bool {
        let outcome = self.partition(key).entry(key.clone()).and_compute_with(|cached| match cached {
            Some(cached) if cached.value().is_same(rejected) => Op::Remove,
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
        Some(self.partition(key).get(key))
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
        Some(self.partition(key).get(key))
    }

    fn is_persistent(&self) -> bool {
        false
    }
}
