//! Reads of the cache, and the copies of its tokens in memory.

use std::time::Duration;

use super::Inner;
use crate::source::flights::Epoch;
use crate::token::AccessToken;
use crate::token::key::TokenKey;

/// The minimum time for which a copy of a token is used after a cache failure before the cache is read again.
const FAILED_CACHE_PAUSE: Duration = Duration::from_secs(5);

impl Inner {
    /// Returns a fresh token from memory. Returns `None` if there is none, or if an attempt, a failure or a rejection
    /// exists for the key, so that the state machine must decide.
    pub(super) fn local_token(&self, key: &TokenKey) -> Option<AccessToken> {
        if !self.flights.has_no_slot(key) {
            return None;
        }
        let token = self.cache.get_local(key)??;
        self.expiry.is_fresh(&token, self.clock.now()).then_some(token)
    }

    /// Reads the cache. If the cache fails, returns the token that this process read last, unless its refresh time has
    /// passed.
    pub(super) async fn read_cache(&self, key: &TokenKey, epoch: Epoch) -> Option<AccessToken> {
        if let Some(cached) = self.cache.get_local(key) {
            return cached;
        }
        match self.health.observe(self.cache.get(key).await) {
            Some(Some(token)) => {
                self.keep_copy(key, &token, epoch);
                Some(token)
            }
            Some(None) => {
                self.flights.with_slot(key, |slot, current_epoch| {
                    if current_epoch == epoch {
                        slot.flight.drop_copy();
                    }
                });
                None
            }
            None => {
                let (now, duration) = (self.clock.now(), self.local_copy_lifetime.max(FAILED_CACHE_PAUSE));
                self.flights.with_slot(key, |slot, current_epoch| {
                    if current_epoch == epoch { slot.flight.extend_copy(now, duration) } else { None }
                })
            }
        }
    }

    /// Keeps a copy of a token of a remote cache in memory, unless the source was cleared or invalidated since `epoch`.
    pub(super) fn keep_copy(&self, key: &TokenKey, token: &AccessToken, epoch: Epoch) {
        if self.cache.get_local(key).is_none() {
            let now = self.clock.now();
            self.flights.with_slot(key, |slot, current_epoch| {
                if current_epoch == epoch {
                    slot.flight.keep_copy(token, now, self.local_copy_lifetime);
                }
            });
        }
    }

    /// Records that the cache contains `token`, unless the source was cleared or invalidated since `epoch`.
    pub(super) fn record_cached_token(&self, key: &TokenKey, token: &AccessToken, epoch: Epoch) {
        self.flights.with_slot(key, |slot, current_epoch| {
            if current_epoch == epoch {
                slot.flight.record_cached_token(token);
            }
        });
    }
}
