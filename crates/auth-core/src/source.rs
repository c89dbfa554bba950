use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;

use crate::{
    AccessToken, AsyncTokenCache, AsyncTokenProvider, Clock, MemoryTokenCache, SystemClock, TokenError, TokenKey,
};

#[cfg(test)]
mod tests;

/// A token that ends within this time is not handed out: it could end on its way.
const EXPIRY_BUFFER: Duration = Duration::from_secs(30);

/// The one owner of the tokens under a key: it hands out the cached one while it is good, and
/// otherwise lets the provider obtain another, once for all who wait.
///
/// Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct TokenSource(Arc<Inner>);

struct Inner {
    key: TokenKey,
    provider: Arc<dyn AsyncTokenProvider>,
    cache: Arc<dyn AsyncTokenCache>,
    clock: Arc<dyn Clock>,
    /// Held by the one caller that asks the provider.
    attempt: Mutex<()>,
}

impl TokenSource {
    /// Tokens from `provider`, kept in the memory of this process.
    pub fn new(key: TokenKey, provider: Arc<dyn AsyncTokenProvider>) -> Self {
        Self::with_cache(key, provider, Arc::new(MemoryTokenCache::new(1)), Arc::new(SystemClock))
    }

    /// Tokens from `provider`, kept in `cache` and judged by `clock`.
    pub fn with_cache(
        key: TokenKey,
        provider: Arc<dyn AsyncTokenProvider>,
        cache: Arc<dyn AsyncTokenCache>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self(Arc::new(Inner { key, provider, cache, clock, attempt: Mutex::new(()) }))
    }

    /// A token that is good for at least another 30 seconds.
    ///
    /// # Errors
    ///
    /// The provider or the cache failed.
    pub async fn token(&self) -> Result<AccessToken, TokenError> {
        if let Some(token) = self.cached().await? {
            return Ok(token);
        }
        let _attempt = self.0.attempt.lock().await;
        if let Some(token) = self.cached().await? {
            return Ok(token);
        }
        let token = self.0.provider.fetch().await?;
        self.0.cache.set(&self.0.key, &token).await?;
        Ok(token)
    }

    /// Forgets `used`, which a server has refused. A token that took its place meanwhile stays.
    ///
    /// # Errors
    ///
    /// The cache failed.
    pub async fn reject(&self, used: &AccessToken) -> Result<(), TokenError> {
        let _attempt = self.0.attempt.lock().await;
        if self.0.cache.get(&self.0.key).await?.is_some_and(|kept| kept.secret() == used.secret()) {
            self.0.cache.delete(&self.0.key).await?;
        }
        Ok(())
    }

    async fn cached(&self) -> Result<Option<AccessToken>, TokenError> {
        let token = self.0.cache.get(&self.0.key).await?;
        Ok(token.filter(|token| is_usable(token, self.0.clock.now())))
    }
}

fn is_usable(token: &AccessToken, now: SystemTime) -> bool {
    token.expires_at().is_none_or(|end| now + EXPIRY_BUFFER < end)
}

impl fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TokenSource")
            .field("key", &self.key)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}
