//! The storage of tokens that were obtained, and of those that could not be stored yet.

use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use crate::source::flights::Epoch;
use crate::source::redemption::Section;
use crate::source::unpublished::Unpublished;
use crate::{AccessToken, Backoff, LeaseGuard, TokenError, TokenKey};

/// The backoff between attempts to store a token.
const RETRY: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));

impl Inner {
    /// Stores `token` once, for the key and the epoch in which it was obtained.
    ///
    /// A token that was cleared since is not stored, which counts as success. Without a lease, a cache that was changed
    /// since is not overwritten, unless it still has `previous`.
    pub(super) async fn store(
        &self,
        key: &TokenKey,
        epoch: Epoch,
        (token, previous): (&AccessToken, Option<&AccessToken>),
        guard: Option<&mut Box<dyn LeaseGuard>>,
    ) -> Result<(), TokenError> {
        let writing = self.flights.with(key, |slot, _| slot.writing.clone());
        let _turn = writing.lock().await;
        let is_rejected = self.flights.with(key, |slot, _| {
            // A store that reports a failure may still have stored it.
            slot.flight.restored(token);
            slot.flight.is_rejected(token)
        });
        let is_unchanged = guard.is_some() || self.flights.epoch() == epoch || self.still_has(key, previous).await;
        let is_cleared = || self.flights.epoch().is_cleared_since(epoch);
        if is_unchanged && !is_cleared() && !(is_rejected && token.refresh_token().is_none()) {
            let stored = match guard {
                Some(guard) => guard.publish(token).await,
                None => self.cache.set(key, token).await,
            };
            let failure = stored.as_ref().err().cloned();
            if self.health.observe(stored).is_some() {
                self.replaced(key, token, epoch);
            }
            if let Some(error) = failure {
                self.keep_local(key, token, epoch);
                return Err(error);
            }
        }
        self.keep_local(key, token, epoch);
        if is_cleared() {
            self.health.observe(self.cache.delete_if(key, token).await);
        } else if is_rejected {
            // It was stored for its refresh token; the access token must not be served from the cache.
            if let Some(deleted) = self.health.observe(self.cache.delete_if(key, token).await) {
                self.flights.with(key, |slot, _| slot.flight.forgotten(token, deleted));
            }
        }
        Ok(())
    }

    /// Returns true if the cache has `previous`.
    async fn still_has(&self, key: &TokenKey, previous: Option<&AccessToken>) -> bool {
        let Some(previous) = previous else { return false };
        // Memory caches return expired tokens here without a wait.
        let cached = match self.cache.get_local(key) {
            Some(cached) => cached,
            None => self.cache.get(key).await.unwrap_or_default(),
        };
        cached.is_some_and(|token| token.is_same(previous))
    }

    /// Stores a token with backoff, until it is stored or everything was cleared.
    pub(super) async fn store_eventually(
        self: Arc<Self>,
        key: TokenKey,
        epoch: Epoch,
        unpublished: Arc<Unpublished>,
        section: Section,
    ) {
        let publication = Publication { inner: self.clone(), key: key.clone(), unpublished };
        let unpublished = &publication.unpublished;
        let mut failures = 1_u32;
        loop {
            self.sleep(RETRY.pause(failures, fastrand::f64())).await;
            failures = failures.saturating_add(1);
            let mut held = unpublished.lock().await;
            if held.is_done {
                break;
            }
            let token = unpublished.token();
            match self.store(&key, epoch, (&token, None), held.guard.as_mut()).await {
                Ok(()) => {
                    held.is_done = true;
                    if let Some(guard) = held.guard.take().filter(|_| self.flights.epoch().is_cleared_since(epoch)) {
                        guard.give_up().await;
                    }
                    break;
                }
                Err(error) => section.set_unstored(Some(error)),
            }
        }
    }
}

/// A guard for an unpublished token. When it is dropped, because the token was stored or discarded or its source was
/// closed, the lease is released.
struct Publication {
    inner: Arc<Inner>,
    key: TokenKey,
    unpublished: Arc<Unpublished>,
}

impl Drop for Publication {
    fn drop(&mut self) {
        let Self { inner, key, unpublished } = self;
        inner.flights.with(key, |slot, _| {
            slot.unpublished.take_if(|current| Arc::ptr_eq(current, unpublished));
        });
        // An attempt that replaces the token has the lock, and releases the lease itself.
        if let Some(mut held) = unpublished.try_lock() {
            held.is_done = true;
            held.guard = None;
        }
        inner.tidy(key);
    }
}
