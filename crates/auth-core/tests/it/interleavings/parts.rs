//! The clock, the provider and the cache of the schedules.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenCache, AsyncTokenProvider, Clock, TokenError, TokenKey, TokenRequest};

use super::{CacheKind, World, text};

/// A running provider call. It is dropped if the attempt timeout ends before the call.
pub(super) struct Call<'a> {
    pub(super) world: &'a World,
    pub(super) key: &'a TokenKey,
    pub(super) clears: usize,
    pub(super) undisturbed: bool,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let (now, mut state) = (self.world.now(), self.world.state());
        state.seen.timed_out += 1;
        if self.undisturbed {
            if state.running.get(self.key) == Some(&self.clears) {
                state.running.remove(self.key);
            }
            state.failures.insert(self.key.clone(), (TokenError::provider("timeout"), now, None, self.clears));
        }
    }
}

impl Clock for World {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000) + self.started.elapsed()
    }
}

#[async_trait]
impl AsyncTokenProvider for World {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.obtain(request, false).await
    }

    async fn refresh(&self, request: &TokenRequest, _previous: &AccessToken) -> Result<AccessToken, TokenError> {
        self.obtain(request, true).await
    }

    fn credential_version(&self) -> u64 {
        self.state().credential
    }

    fn needs_caller_runtime(&self) -> bool {
        true
    }
}

#[async_trait]
impl AsyncTokenCache for World {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        self.access_cache().await?;
        let cached = self.state().cached.get(key).cloned();
        self.access_cache().await?;
        Ok(cached)
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        self.access_cache().await?;
        {
            let mut state = self.state();
            state.stored.insert(text(token));
            state.cached.insert(key.clone(), token.clone());
        }
        self.access_cache().await
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        self.access_cache().await?;
        {
            let mut state = self.state();
            if let Some(deleted) = state.cached.remove(key)
                && !state.rejected.contains(&text(&deleted))
                && state
                    .obtained
                    .iter()
                    .any(|(_, token, clears)| token.is_same(&deleted) && *clears == Some(state.clears))
            {
                state.violations.push(format!("{} was deleted, but was not rejected", text(&deleted)));
            }
        }
        self.access_cache().await
    }

    async fn clear(&self) -> Result<(), TokenError> {
        self.access_cache().await?;
        self.state().cached.clear();
        self.access_cache().await
    }

    fn get_local(&self, key: &TokenKey) -> Option<Option<AccessToken>> {
        (self.cache == CacheKind::Memory).then(|| self.state().cached.get(key).cloned())
    }
}
