//! Token caches.
mod adapter;
mod memory;
mod none;

pub use adapter::{Blocking, NonBlocking};
use async_trait::async_trait;
pub use memory::{MemoryTokenCache, MemoryTokenCacheBuilder};
pub(crate) use none::NoTokenCache;
use std::fmt;

use crate::{AccessToken, TokenError, TokenKey};

/// A token cache for blocking callers. Implement it for custom storage.
///
/// A cache stores and returns tokens. Its owner, a [`blocking::TokenSource`](crate::blocking::TokenSource), decides
/// whether a token is still valid. A cache may evict a token at any time. Return `Ok(None)` for an entry that cannot be
/// decoded, because an error means that the backend is unavailable.
///
/// The suite `platform_testkit::token_cache` checks an implementation, and `platform_testkit::atomic_delete_if` its
/// `delete_if`.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Mutex, PoisonError};
/// use auth_core::{AccessToken, TokenCache, TokenError, TokenKey};
///
/// #[derive(Debug, Default)]
/// struct MyCache(Mutex<HashMap<[u8; 32], AccessToken>>);
///
/// impl TokenCache for MyCache {
///     fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
///         Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key.digest()).cloned())
///     }
///     fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
///         self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(*key.digest(), token.clone());
///         Ok(())
///     }
///     fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
///         self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key.digest());
///         Ok(())
///     }
///     fn clear(&self) -> Result<(), TokenError> {
///         self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
///         Ok(())
///     }
/// }
/// ```
pub trait TokenCache: fmt::Debug + Send + Sync {
    /// Returns the token cached under `key`.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed.
    fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError>;

    /// Stores `token` under `key`, replacing any previous one.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed; the previous token may still be cached.
    fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError>;

    /// Deletes the token under `key`. A missing token is not an error.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed.
    fn delete(&self, key: &TokenKey) -> Result<(), TokenError>;

    /// Deletes the tokens under all keys.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed.
    fn clear(&self) -> Result<(), TokenError>;

    /// Deletes the token under `key` if it is the same as `rejected`, so that a newer token is not deleted. Returns
    /// true if the token was deleted.
    ///
    /// Override this method if the backend can compare and delete atomically. The default implementation calls
    /// [`get`](Self::get) and then [`delete`](Self::delete), and deletes a token that another process stores in
    /// between.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed.
    fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        let is_cached = self.get(key)?.is_some_and(|cached| cached.is_same(rejected));
        if is_cached {
            self.delete(key)?;
        }
        Ok(is_cached)
    }

    /// Returns the result of [`get`](Self::get) without blocking, for a cache in the memory of this process. Other
    /// caches return `None`, and the caller then calls `get`.
    ///
    /// The inner value is `None` if no token is cached under `key`. A cache that overrides this method must always
    /// return `Some`, and its other methods must not fail. The returned token may have expired.
    fn get_local(&self, key: &TokenKey) -> Option<Option<AccessToken>> {
        let _ = key;
        None
    }

    /// Returns true if cached tokens can outlive the process, or if other processes can read them. A source then
    /// requires an [identity](crate::TokenSourceBuilder::with_identity) in its keys.
    fn is_persistent(&self) -> bool {
        true
    }
}

const _: Option<&dyn TokenCache> = None;

/// A token cache for asynchronous callers. Implement it for custom storage, such as a database or Redis.
///
/// An implementation follows the same rules as a [`TokenCache`]. The suite `platform_testkit::async_token_cache` checks
/// an implementation, and `platform_testkit::async_atomic_delete_if` its `delete_if`.
#[async_trait]
pub trait AsyncTokenCache: fmt::Debug + Send + Sync {
    /// Returns the token cached under `key`.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed.
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError>;

    /// Stores `token` under `key`, replacing any previous one.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed; the previous token may still be cached.
    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError>;

    /// Deletes the token under `key`. A missing token is not an error.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed.
    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError>;

    /// Deletes the tokens under all keys.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed.
    async fn clear(&self) -> Result<(), TokenError>;

    /// Deletes the token under `key` if it is the same as `rejected`, so that a newer token is not deleted. Returns
    /// true if the token was deleted.
    ///
    /// Override this method if the backend can compare and delete atomically. The default implementation calls
    /// [`get`](Self::get) and then [`delete`](Self::delete), and deletes a token that another process stores in
    /// between.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed.
    async fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        let is_cached = self.get(key).await?.is_some_and(|cached| cached.is_same(rejected));
        if is_cached {
            self.delete(key).await?;
        }
        Ok(is_cached)
    }

    /// Returns the result of [`get`](Self::get) without waiting, for a cache in the memory of this process. Other
    /// caches return `None`, and the caller then calls `get`.
    ///
    /// The inner value is `None` if no token is cached under `key`. A cache that overrides this method must always
    /// return `Some`, and its other methods must not fail. The returned token may have expired.
    fn get_local(&self, key: &TokenKey) -> Option<Option<AccessToken>> {
        let _ = key;
        None
    }

    /// Returns true if cached tokens can outlive the process, or if other processes can read them. A source then
    /// requires an [identity](crate::TokenSourceBuilder::with_identity) in its keys.
    fn is_persistent(&self) -> bool {
        true
    }
}
const _: Option<&dyn AsyncTokenCache> = None;
