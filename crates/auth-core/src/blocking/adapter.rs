use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    AccessToken, AsyncTokenCache, AsyncTokenProvider, Secret, TokenCache, TokenError, TokenKey, TokenProvider,
    TokenRequest, source::background,
};

/// An asynchronous adapter for a blocking provider or cache. A call that may block runs on a separate thread.
#[derive(Debug)]
pub(super) struct BlockingAdapter<T: ?Sized>(Arc<T>);

impl<T: ?Sized> BlockingAdapter<T> {
    pub(super) fn new(inner: Arc<T>) -> Self {
        Self(inner)
    }
}

impl<T: ?Sized + fmt::Debug + Send + Sync + 'static> BlockingAdapter<T> {
    async fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&T) -> Result<R, TokenError> + Send + 'static,
    ) -> Result<R, TokenError> {
        let inner = self.0.clone();
        background::call_blocking(move || work(&inner)).await?
    }
}

#[async_trait]
impl AsyncTokenProvider for BlockingAdapter<dyn TokenProvider> {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let request = request.clone();
        self.call(move |provider| provider.fetch(&request)).await
    }

    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        let (request, previous) = (request.clone(), previous.clone());
        self.call(move |provider| provider.refresh(&request, &previous)).await
    }

    async fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        let token = token.clone();
        self.call(move |provider| provider.verify(&token)).await
    }

    fn identity(&self) -> Option<String> {
        self.0.identity()
    }

    fn credential_version(&self) -> u64 {
        self.0.credential_version()
    }

    fn needs_lease(&self) -> bool {
        self.0.needs_lease()
    }

    fn initial_credential(&self) -> Option<Secret> {
        self.0.initial_credential()
    }

    fn is_interactive(&self) -> bool {
        self.0.is_interactive()
    }

    fn is_cancelable(&self) -> bool {
        false
    }
}

/// If `get_local` returns `Some`, the cache is in memory, and its `get`, `set` and `delete_if` run on the caller's
/// thread because they do not block. All other calls run on a separate thread.
#[async_trait]
impl AsyncTokenCache for BlockingAdapter<dyn TokenCache> {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        if let Some(cached) = self.0.get_local(key) {
            return Ok(cached);
        }
        let key = key.clone();
        self.call(move |cache| cache.get(&key)).await
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        if self.0.get_local(key).is_some() {
            return self.0.set(key, token);
        }
        let (key, token) = (key.clone(), token.clone());
        self.call(move |cache| cache.set(&key, &token)).await
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        let key = key.clone();
        self.call(move |cache| cache.delete(&key)).await
    }

    async fn clear(&self) -> Result<(), TokenError> {
        self.call(TokenCache::clear).await
    }

    async fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        if self.0.get_local(key).is_some() {
            return self.0.delete_if(key, rejected);
        }
        let (key, rejected) = (key.clone(), rejected.clone());
        self.call(move |cache| cache.delete_if(&key, &rejected)).await
    }

    fn get_local(&self, key: &TokenKey) -> Option<Option<AccessToken>> {
        self.0.get_local(key)
    }

    fn is_persistent(&self) -> bool {
        self.0.is_persistent()
    }
}
