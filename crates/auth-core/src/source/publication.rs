//! Publication: storing obtained tokens in the cache, with retries if the cache fails.

use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use crate::source::flights::Epoch;
use crate::source::redemption::Section;
use crate::source::unpublished::UnpublishedToken;
use crate::{AccessToken, Backoff, LeaseGuard, TokenError, TokenKey};

/// The backoff between attempts to store a token.
const STORE_BACKOFF: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));

impl Inner {
    /// Tries once to store `token`. `epoch` is the epoch in which the attempt that obtained it started.
    ///
    /// If the source was cleared since, the token is not stored, which is not an error. If the source was invalidated
    /// since and has no lease, the token is stored only if the cache still contains `previous`.
    pub(super) async fn store(
        &self,
        key: &TokenKey,
        epoch: Epoch,
        (token, previous): (&AccessToken, Option<&AccessToken>),
        guard: Option<&mut Box<dyn LeaseGuard>>,
    ) -> Result<(), TokenError> {
        let write_lock = self.flights.with_slot(key, |slot, _| slot.write_lock.clone());
        let _guard = write_lock.lock().await;
        let is_rejected = self.flights.with_slot(key, |slot, _| {
            // The token is marked before it is stored, because a store that reports a failure may still have stored it.
            slot.flight.mark_possibly_cached(token);
            slot.flight.is_rejected(token)
        });
        let may_store = guard.is_some() || self.flights.epoch() == epoch || self.cache_contains(key, previous).await;
        let is_cleared = || self.flights.epoch().is_cleared_since(epoch);
        if may_store && !is_cleared() && !(is_rejected && token.refresh_token().is_none()) {
            let store_result = match guard {
                Some(guard) => guard.publish(token).await,
                None => self.cache.set(key, token).await,
            };
            let store_error = store_result.as_ref().err().cloned();
            if self.health.observe(store_result).is_some() {
                self.record_cached_token(key, token, epoch);
            }
            if let Some(error) = store_error {
                self.keep_copy(key, token, epoch);
                return Err(error);
            }
        }
        self.keep_copy(key, token, epoch);
        if is_cleared() {
            self.health.observe(self.cache.delete_if(key, token).await);
        } else if is_rejected {
            // The next attempt finds the refresh token in memory. The cache must not serve the rejected access token.
            if let Some(was_deleted) = self.health.observe(self.cache.delete_if(key, token).await) {
                self.flights.with_slot(key, |slot, _| slot.flight.mark_uncached(token, was_deleted));
            }
        }
        Ok(())
    }

    async fn cache_contains(&self, key: &TokenKey, previous: Option<&AccessToken>) -> bool {
        let Some(previous) = previous else { return false };
        // Unlike `get`, `get_local` also returns a token that has expired.
        let cached = match self.cache.get_local(key) {
            Some(cached) => cached,
            None => self.cache.get(key).await.unwrap_or_default(),
        };
        cached.is_some_and(|token| token.is_same(previous))
    }

    /// Tries with backoff to store the token, until it is stored or discarded, or the source is cleared.
    pub(super) async fn store_with_retries(
        self: Arc<Self>,
        key: TokenKey,
        epoch: Epoch,
        unpublished: Arc<UnpublishedToken>,
        section: Section,
    ) {
        let publication = PublicationGuard { inner: self.clone(), key: key.clone(), unpublished };
        let unpublished = &publication.unpublished;
        let mut failures = 1_u32;
        loop {
            self.sleep(STORE_BACKOFF.pause(failures, fastrand::f64())).await;
            failures = failures.saturating_add(1);
            let mut held_lease = unpublished.lock().await;
            if held_lease.is_settled {
                break;
            }
            let token = unpublished.token();
            match self.store(&key, epoch, (&token, None), held_lease.guard.as_mut()).await {
                Ok(()) => {
                    held_lease.is_settled = true;
                    let is_cleared = self.flights.epoch().is_cleared_since(epoch);
                    if let Some(guard) = held_lease.guard.take().filter(|_| is_cleared) {
                        guard.release().await;
                    }
                    break;
                }
                Err(error) => section.set_store_error(Some(error)),
            }
        }
    }
}

/// A guard that removes an unpublished token from its slot and releases its lease when it is dropped. It is dropped
/// when the token was stored or discarded, and when the source is closed.
struct PublicationGuard {
    inner: Arc<Inner>,
    key: TokenKey,
    unpublished: Arc<UnpublishedToken>,
}

impl Drop for PublicationGuard {
    fn drop(&mut self) {
        let Self { inner, key, unpublished } = self;
        inner.flights.with_slot(key, |slot, _| {
            slot.unpublished.take_if(|current| Arc::ptr_eq(current, unpublished));
        });
        // If an attempt holds the lock, it is replacing the token, and releases the lease itself.
        if let Some(mut held_lease) = unpublished.try_lock() {
            held_lease.is_settled = true;
            held_lease.guard = None;
        }
        inner.remove_if_idle(key);
    }
}
