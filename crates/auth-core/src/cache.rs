use std::fmt;

use async_trait::async_trait;
use moka::policy::EvictionPolicy;

use crate::{AccessToken, TokenError, TokenKey};

/// Keeps tokens. Implement it to keep them where you want: in memory, in a file, in Redis.
///
/// A cache stores and returns; it does not decide whether a token is still good. That is the task
/// of [`TokenSource`](crate::TokenSource).
#[async_trait]
pub trait AsyncTokenCache: fmt::Debug + Send + Sync {
    /// The token that is kept under `key`.
    ///
    /// # Errors
    ///
    /// The backend failed.
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError>;

    /// Keeps `token` under `key`, in place of what was there.
    ///
    /// # Errors
    ///
    /// The backend failed; what was there before may still be there.
    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError>;

    /// Forgets the token under `key`; no error if there is none.
    ///
    /// # Errors
    ///
    /// The backend failed.
    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError>;

    /// Forgets all tokens.
    ///
    /// # Errors
    ///
    /// The backend failed.
    async fn clear(&self) -> Result<(), TokenError>;
}

const _: Option<&dyn AsyncTokenCache> = None;

/// Keeps up to a number of tokens in the memory of this process; the least recently used goes first.
#[derive(Clone)]
pub struct MemoryTokenCache(moka::sync::Cache<TokenKey, AccessToken>);

impl MemoryTokenCache {
    /// Room for `capacity` tokens.
    pub fn new(capacity: u64) -> Self {
        Self(moka::sync::Cache::builder().max_capacity(capacity).eviction_policy(EvictionPolicy::lru()).build())
    }
}

impl fmt::Debug for MemoryTokenCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryTokenCache").finish_non_exhaustive()
    }
}

#[async_trait]
impl AsyncTokenCache for MemoryTokenCache {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        Ok(self.0.get(key))
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        self.0.insert(key.clone(), token.clone());
        Ok(())
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        self.0.invalidate(key);
        Ok(())
    }

    async fn clear(&self) -> Result<(), TokenError> {
        self.0.invalidate_all();
        Ok(())
    }
}
