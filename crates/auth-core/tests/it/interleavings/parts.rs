//! The clock, the provider and the cache of the schedules.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenCache, AsyncTokenProvider, Clock, TokenError, TokenKey, TokenRequest};

use super::{CacheKind, RandomParts, text_of};

/// A running provider call. It is dropped if the attempt timeout ends before the call.
pub(super) struct RunningCall<'a> {
    pub(super) parts: &'a RandomParts,
    pub(super) key: &'a TokenKey,
    pub(super) clears: usize,
    pub(super) is_unaffected_by_clear: bool,
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        let (now, mut state) = (self.parts.now(), self.parts.state());
        state.event_counts.timeouts += 1;
        if self.is_unaffected_by_clear {
            if state.running_calls.get(self.key) == Some(&self.clears) {
                state.running_calls.remove(self.key);
            }
            state.last_failures.insert(self.key.clone(), (TokenError::provider("timeout"), now, None, self.clears));
        }
    }
}

impl Clock for RandomParts {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000) + self.started.elapsed()
    }
}

#[async_trait]
impl AsyncTokenProvider for RandomParts {
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
impl AsyncTokenCache for RandomParts {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        self.access_cache().await?;
        let cached = self.state().cached_tokens.get(key).cloned();
        self.access_cache().await?;
        Ok(cached)
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        self.access_cache().await?;
        {
            let mut state = self.state();
            state.stored_tokens.insert(text_of(token));
            state.cached_tokens.insert(key.clone(), token.clone());
        }
        self.access_cache().await
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        self.access_cache().await?;
        {
            let mut state = self.state();
            if let Some(deleted) = state.cached_tokens.remove(key)
                && !state.rejected_tokens.contains(&text_of(&deleted))
                && state
                    .obtained_tokens
                    .iter()
                    .any(|(_, token, clears)| token.is_same(&deleted) && *clears == Some(state.clears))
            {
                state.violations.push(format!("{} was deleted, but was not rejected", text_of(&deleted)));
            }
        }
        self.access_cache().await
    }

    async fn clear(&self) -> Result<(), TokenError> {
        self.access_cache().await?;
        self.state().cached_tokens.clear();
        self.access_cache().await
    }

    fn get_local(&self, key: &TokenKey) -> Option<Option<AccessToken>> {
        (self.cache == CacheKind::Memory).then(|| self.state().cached_tokens.get(key).cloned())
    }
}
