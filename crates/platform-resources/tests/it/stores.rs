//! Token caches that several clients share.

use std::sync::Arc;

use auth_core::{AsyncTokenCache, MemoryTokenCache, RefreshLease, TokenSourceBuilder};
use auth_oauth::FileTokenStore;
use platform_resources::ClientBuilder;
use tempfile::TempDir;

/// A token cache, and its lease if several processes can share it.
pub(crate) struct SharedCache {
    pub(crate) name: &'static str,
    pub(crate) cache: Arc<dyn AsyncTokenCache>,
    lease: Option<Arc<dyn RefreshLease>>,
    /// The folder of the file store. It is dropped after the cache.
    _folder: Option<TempDir>,
    #[cfg(unix)]
    _redis: Option<crate::redis_server::Redis>,
}

impl SharedCache {
    pub(crate) fn memory() -> Self {
        Self {
            name: "memory",
            cache: Arc::new(
                MemoryTokenCache::builder().with_max_client_tokens(10_000).with_max_user_tokens(10_000).build(),
            ),
            lease: None,
            _folder: None,
            #[cfg(unix)]
            _redis: None,
        }
    }

    fn file() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Arc::new(FileTokenStore::new(folder.path().join("tokens")));
        let (cache, lease) = (store.clone(), Some(store as Arc<dyn RefreshLease>));
        Self { name: "file", cache, lease, _folder: Some(folder), ..Self::memory() }
    }

    #[cfg(unix)]
    async fn redis() -> Option<Self> {
        let redis = crate::redis_server::Redis::start()?;
        let store = Arc::new(crate::redis::cache(redis.url().as_str(), "shared").await);
        let (cache, lease) = (store.clone(), Some(store as Arc<dyn RefreshLease>));
        Some(Self { name: "Redis", cache, lease, _redis: Some(redis), ..Self::memory() })
    }

    /// Returns one cache of each kind that this machine supports.
    pub(crate) async fn all() -> Vec<Self> {
        let caches = vec![Self::memory(), Self::file()];
        #[cfg(unix)]
        let caches = caches.into_iter().chain(Self::redis().await).collect();
        caches
    }

    pub(crate) fn configure_source(&self, source: TokenSourceBuilder) -> TokenSourceBuilder {
        let source = source.with_cache(self.cache.clone());
        self.lease.iter().cloned().fold(source, TokenSourceBuilder::with_lease)
    }

    pub(crate) fn configure_client(&self, client: ClientBuilder) -> ClientBuilder {
        let client = client.with_token_cache(self.cache.clone());
        self.lease.iter().cloned().fold(client, ClientBuilder::with_token_lease)
    }
}
