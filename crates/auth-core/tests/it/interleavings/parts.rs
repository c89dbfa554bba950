//! The clock, the provider and the cache of the scripted world.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenCache, AsyncTokenProvider, Clock, TokenError, TokenKey, TokenRequest};

use super::{Distance, World, text};

/// A provider call. Dropping it ends the call without a result: its time limit was exceeded.
pub(super) struct Call<'a> {
    pub(super) world: &'a World,
    pub(super) key: &'a TokenKey,
    pub(super) clears: usize,
    pub(super) undisturbed: bool,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let (now, mut book) = (self.world.now(), self.world.book());
        book.seen.timed_out += 1;
        if self.undisturbed {
            if book.running.get(self.key) == Some(&self.clears) {
                book.running.remove(self.key);
            }
            book.failures.insert(self.key.clone(), (TokenError::provider("timeout"), now, None, self.clears));
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
        self.book().credential
    }

    fn needs_caller_runtime(&self) -> bool {
        true
    }
}

#[async_trait]
impl AsyncTokenCache for World {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        self.reach().await?;
        let kept = self.book().kept.get(key).cloned();
        self.reach().await?;
        Ok(kept)
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        self.reach().await?;
        {
            let mut book = self.book();
            book.stored.insert(text(token));
            book.kept.insert(key.clone(), token.clone());
        }
        self.reach().await
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        self.reach().await?;
        {
            let mut book = self.book();
            if let Some(deleted) = book.kept.remove(key)
                && !book.rejected.contains(&text(&deleted))
                && book
                    .obtained
                    .iter()
                    .any(|(_, token, clears)| token.is_same(&deleted) && *clears == Some(book.clears))
            {
                book.violations.push(format!("{} was deleted, but was not rejected", text(&deleted)));
            }
        }
        self.reach().await
    }

    async fn clear(&self) -> Result<(), TokenError> {
        self.reach().await?;
        self.book().kept.clear();
        self.reach().await
    }

    fn get_local(&self, key: &TokenKey) -> Option<Option<AccessToken>> {
        (self.distance == Distance::Near).then(|| self.book().kept.get(key).cloned())
    }
}
