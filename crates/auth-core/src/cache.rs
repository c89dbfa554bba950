//! Where tokens are kept.
mod adapter;
mod memory;
mod none;

pub use adapter::{Blocking, NonBlocking};
use async_trait::async_trait;
pub use memory::{MemoryTokenCache, MemoryTokenCacheBuilder};
pub(crate) use none::NoTokenCache;
use std::fmt;

use crate::{AccessToken, TokenError, TokenKey};

/// Keeps tokens, for those who can wait for it. Implement it to keep them where you want.
///
/// A cache stores and returns; whether a token is still good is decided by who owns it, a
/// [`blocking::TokenSource`](crate::blocking::TokenSource). It may forget a token at any time.
/// An entry that cannot be read is a miss, not an error: an error says that the backend is away.
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
    /// The token that is kept under `key`.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed.
    fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError>;

    /// Keeps `token` under `key`, in place of what was there.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed; what was there before may still be there.
    fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError>;

    /// Forgets the token under `key`; no error if there is none.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed.
    fn delete(&self, key: &TokenKey) -> Result<(), TokenError>;

    /// Forgets all tokens.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed.
    fn clear(&self) -> Result<(), TokenError>;

    /// Forgets the token under `key` if it is still `rejected`; whether it was. A newer one stays.
    ///
    /// Override it where the backend can compare and delete in one step: between the two steps of
    /// this one, another process may put a newer token there.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed.
    fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        let found = self.get(key)?.is_some_and(|kept| kept.is_same(rejected));
        if found {
            self.delete(key)?;
        }
        Ok(found)
    }

    /// The same as [`get`](Self::get), if the tokens are kept in the memory of this process;
    /// otherwise `None`, and `get` is asked.
    ///
    /// A cache that answers here must always do so, and its other methods must not fail: its tokens
    /// are as near as any copy of them. It need not look whether they have expired.
    fn get_now(&self, key: &TokenKey) -> Option<Option<AccessToken>> {
        let _ = key;
        None
    }

    /// Returns true if tokens can outlive the process, or can be read by others. A source then requires an
    /// [identity](crate::TokenSourceBuilder::with_identity) in its keys.
    fn is_persistent(&self) -> bool {
        true
    }
}

const _: Option<&dyn TokenCache> = None;

/// Keeps tokens, without holding up the thread that asks. Implement it to keep them where you want:
/// in a database, in Redis.
///
/// The rules are those of [`TokenCache`]; the suite `platform_testkit::async_token_cache` checks an
/// implementation, and `platform_testkit::async_atomic_delete_if` its `delete_if`.
#[async_trait]
pub trait AsyncTokenCache: fmt::Debug + Send + Sync {
    /// The token that is kept under `key`.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed.
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError>;

    /// Keeps `token` under `key`, in place of what was there.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed; what was there before may still be there.
    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError>;

    /// Forgets the token under `key`; no error if there is none.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed.
    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError>;

    /// Forgets all tokens.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed.
    async fn clear(&self) -> Result<(), TokenError>;

    /// Forgets the token under `key` if it is still `rejected`; whether it was. A newer one stays.
    ///
    /// Override it where the backend can compare and delete in one step: between the two steps of
    /// this one, another process may put a newer token there.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the backend failed.
    async fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        let found = self.get(key).await?.is_some_and(|kept| kept.is_same(rejected));
        if found {
            self.delete(key).await?;
        }
        Ok(found)
    }

    /// The same as [`get`](Self::get), if the answer can be had here and now, as from memory;
    /// otherwise `None`, and `get` is asked.
    ///
    /// A cache that answers here must always do so, and its other methods must not fail: its tokens
    /// are as near as any copy of them. It need not look whether they have expired.
    fn get_now(&self, key: &TokenKey) -> Option<Option<AccessToken>> {
        let _ = key;
        None
    }

    /// Returns true if tokens can outlive the process, or can be read by others. A source then requires an
    /// [identity](crate::TokenSourceBuilder::with_identity) in its keys.
    fn is_persistent(&self) -> bool {
        true
    }
}
const _: Option<&dyn AsyncTokenCache> = None;
