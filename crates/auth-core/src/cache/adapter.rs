//! Adapters from [`TokenCache`] to [`AsyncTokenCache`]. There is no adapter for the opposite direction, because a
//! runtime thread that blocks on an asynchronous cache of the same runtime would deadlock.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::task::spawn_blocking;

use crate::{AccessToken, AsyncTokenCache, TokenCache, TokenError, TokenKey};

/// An asynchronous adapter for a cache that never blocks, such as one in memory. Its methods run on the runtime's
/// thread, so they must not read files or wait.
#[derive(Clone, Debug)]
pub struct NonBlocking<C>(C);

impl<C> NonBlocking<C> {
    /// Wraps a cache.
    pub fn new(cache: C) -> Self {
        Self(cache)
    }
}

/// An asynchronous adapter for a cache that may block, such as one on disk or in a keychain. Its methods run on the
/// blocking threads of the tokio runtime (`spawn_blocking`).
#[derive(Debug)]
pub struct Blocking<C>(Arc<C>);

impl<C> Blocking<C> {
    /// Wraps a cache.
    pub fn new(cache: C) -> Self {
        Self(Arc::new(cache))
    }
}

impl<C> Clone for Blocking<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[async_trait]
impl<C: TokenCache> AsyncTokenCache for NonBlocking<C> {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        self.0.get(key)
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        self.0.set(key, token)
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        self.0.delete(key)
    }

    async fn clear(&self) -> Result<(), TokenError> {
        self.0.clear()
    }

    async fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        self.0.delete_if(key, rejected)
    }

    fn get_local(&self, key: &TokenKey) -> Option<Option<AccessToken>> {
        self.0.get_local(key)
    }

    fn is_persistent(&self) -> bool {
        self.0.is_persistent()
    }
}

impl<C: TokenCache + 'static> Blocking<C> {
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&C) -> Result<T, TokenError> + Send + 'static,
    ) -> Result<T, TokenError> {
        let cache = self.0.clone();
        spawn_blocking(move || work(&cache)).await.unwrap_or_else(|error| Err(TokenError::cache(error)))
    }
}

#[async_trait]
impl<C: TokenCache + 'static> AsyncTokenCache for Blocking<C> {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        let key = key.clone();
        self.run(move |cache| cache.get(&key)).await
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        let (key, token) = (key.clone(), token.clone());
        self.run(move |cache| cache.set(&key, &token)).await
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        let key = key.clone();
        self.run(move |cache| cache.delete(&key)).await
    }

    async fn clear(&self) -> Result<(), TokenError> {
        self.run(C::clear).await
    }

    async fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        let (key, rejected) = (key.clone(), rejected.clone());
        self.run(move |cache| cache.delete_if(&key, &rejected)).await
    }

    fn is_persistent(&self) -> bool {
        self.0.is_persistent()
    }
}
