//! Reads of the cache, and the copies of its tokens in memory.

use std::time::Duration;

use super::Inner;
use crate::source::flights::Epoch;
use crate::token::AccessToken;
use crate::token::key::TokenKey;

/// The time in which the copy of a token is used without reading a store that failed.
const UNAVAILABLE_PAUSE: Duration = Duration::from_secs(5);

impl Inner {
    /// Returns a fresh token from memory, if its key has no other state (fast path).
    pub(super) fn local_token(&self, key: &TokenKey) -> Option<AccessToken> {
        if !self.flights.is_quiet(key) {
            return None;
        }
        let token = self.cache.get_local(key)??;
        self.expiry.is_fresh(&token, self.clock.now()).then_some(token)
    }

    /// Reads the cache. If it fails, returns the token that this process read last, until its refresh time.
    pub(super) async fn look_up(&self, key: &TokenKey, epoch: Epoch) -> Option<AccessToken> {
        if let Some(answer) = self.cache.get_local(key) {
            return answer;
        }
        let answer = self.health.observe(self.cache.get(key).await);
        match answer {
            Some(Some(token)) => {
                self.keep_local(key, &token, epoch);
                Some(token)
            }
            Some(None) => {
                self.flights.with(key, |slot, current| {
                    if current == epoch {
                        slot.flight.drop_copy();
                    }
                });
                None
            }
            None => {
                let (now, time) = (self.clock.now(), self.local_copy.max(UNAVAILABLE_PAUSE));
                self.flights.with(
                    key,
                    |slot, current| {
                        if current == epoch { slot.flight.fall_back(now, time) } else { None }
                    },
                )
            }
        }
    }

    /// Stores a copy of a token of a remote cache, unless everything was cleared since `epoch`.
    pub(super) fn keep_local(&self, key: &TokenKey, token: &AccessToken, epoch: Epoch) {
        if self.cache.get_local(key).is_none() {
            let now = self.clock.now();
            self.flights.with(key, |slot, current| {
                if current == epoch {
                    slot.flight.keep(token, now, self.local_copy);
                }
            });
        }
    }

    /// Records that the cache holds `token`, unless everything was cleared since `epoch`.
    pub(super) fn replaced(&self, key: &TokenKey, token: &AccessToken, epoch: Epoch) {
        self.flights.with(key, |slot, current| {
            if current == epoch {
                slot.flight.replaced(token);
            }
        });
    }
}
