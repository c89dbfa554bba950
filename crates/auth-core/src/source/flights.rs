//! The state of all keys of a source, one slot for each key.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use crate::source::flight::Flight;
use crate::source::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError};
use crate::source::unpublished::UnpublishedToken;
use crate::source::waiting::Progress;
use crate::token::AccessToken;
use crate::token::key::TokenKey;

/// When this number of slots exists, adding another one first removes those that are not busy.
const CLEANUP_THRESHOLD: usize = 4096;

#[derive(Default)]
pub(crate) struct Flights {
    state: Mutex<State>,
    /// The number of slots, which can be read without the lock.
    slot_count: AtomicUsize,
}

#[derive(Default)]
struct State {
    epoch: Epoch,
    slots: HashMap<TokenKey, Slot>,
}

/// The number of clears and invalidations of a source. An operation that started in an earlier epoch must not add state
/// in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epoch {
    /// The number of times that the cache and the memory were cleared. An operation that started before the last clear
    /// must not write to the cache, either.
    clears: u64,
    /// The number of times that only the state in memory was removed.
    invalidations: u64,
}

impl Epoch {
    /// Returns true if the source was cleared since the epoch `earlier`.
    pub(crate) fn is_cleared_since(self, earlier: Self) -> bool {
        self.clears != earlier.clears
    }
}

/// The lock that is held to change the cache under one key.
pub(crate) type WriteLock = tokio::sync::Mutex<()>;

/// The state of one key.
#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) flight: Flight,
    pub(crate) attempt: Option<watch::Receiver<Progress>>,
    /// A token that could not be stored yet.
    pub(crate) unpublished: Option<Arc<UnpublishedToken>>,
    /// Tasks that change the cache under the key hold this lock. Tasks that only read the cache keep a reference to the
    /// lock, which marks the slot as busy.
    pub(crate) write_lock: Arc<WriteLock>,
    /// The attempt that may redeem a single-use credential holds this lock. After a clear, the next attempt waits for
    /// it.
    pub(crate) redemption_lock: Arc<tokio::sync::Mutex<()>>,
}

impl Flights {
    /// Returns true if a key has no slot, so that a fresh token from the cache can be served without further checks.
    pub(crate) fn has_no_slot(&self, key: &TokenKey) -> bool {
        self.slot_count.load(Ordering::Acquire) == 0 || !self.state().slots.contains_key(key)
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.state().epoch
    }

    /// Calls `work` with the slot of a key and the current epoch, while the slots are locked.
    pub(crate) fn with_slot<T>(&self, key: &TokenKey, work: impl FnOnce(&mut Slot, Epoch) -> T) -> T {
        let mut state = self.state();
        if state.slots.len() >= CLEANUP_THRESHOLD && !state.slots.contains_key(key) {
            state.slots.retain(|_, slot| slot.is_busy());
        }
        let epoch = state.epoch;
        let outcome = work(state.slots.entry(key.clone()).or_default(), epoch);
        self.slot_count.store(state.slots.len(), Ordering::Release);
        outcome
    }

    /// Returns the epoch, and the token in memory for the key, if any: a token that could not be stored yet, or a copy.
    pub(crate) fn token_in_memory(&self, key: &TokenKey, now: SystemTime) -> (Epoch, Option<AccessToken>) {
        let state = self.state();
        let slot = state.slots.get(key);
        let token = slot.and_then(|slot| slot.unpublished_token().or_else(|| slot.flight.local_copy(now)));
        (state.epoch, token)
    }

    /// Returns true if `token` was rejected, and the cache or a reader may still return it.
    pub(crate) fn is_rejected(&self, key: &TokenKey, token: &AccessToken) -> bool {
        self.state().slots.get(key).is_some_and(|slot| slot.flight.is_rejected(token))
    }

    /// Removes all state except tokens that must not be served or presented. Running attempts continue for the callers
    /// that already wait for them. Returns the write locks, so that the caller can wait for changes of the cache.
    pub(crate) fn clear(&self) -> Vec<Arc<WriteLock>> {
        let mut state = self.state();
        state.epoch.clears += 1;
        state.slots.values_mut().for_each(|slot| slot.unpublished = None);
        self.remove_state(&mut state);
        state.slots.values().map(|slot| slot.write_lock.clone()).collect()
    }

    /// Removes copies of tokens, and failures. Running attempts continue for the callers that already wait for them,
    /// and store their tokens.
    pub(crate) fn invalidate(&self) {
        let mut state = self.state();
        state.epoch.invalidations += 1;
        self.remove_state(&mut state);
    }

    fn remove_state(&self, state: &mut State) {
        state.slots.retain(|_, slot| {
            slot.attempt = None;
            slot.forget_uncached_unless_busy();
            slot.flight.clear() || slot.is_busy()
        });
        self.slot_count.store(state.slots.len(), Ordering::Release);
    }

    /// Removes the slot of a key if it is not busy and its flight has no state.
    pub(crate) fn remove_if_idle(&self, key: &TokenKey, now: SystemTime) {
        let mut state = self.state();
        let is_idle = |slot: &mut Slot| slot.forget_uncached_unless_busy() && slot.flight.is_idle(now);
        if state.slots.get_mut(key).is_some_and(is_idle) {
            state.slots.remove(key);
        }
        self.slot_count.store(state.slots.len(), Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    pub(crate) fn unpublished_token(&self) -> Option<AccessToken> {
        self.unpublished.as_ref().map(|unpublished| unpublished.token())
    }

    /// If the slot is not busy, forgets rejected tokens that the cache no longer contains, and returns true.
    fn forget_uncached_unless_busy(&mut self) -> bool {
        if self.is_busy() {
            return false;
        }
        self.flight.forget_uncached();
        true
    }

    /// Returns true while an attempt is running, a token could not be stored yet, or the cache is read or changed.
    fn is_busy(&self) -> bool {
        self.attempt.is_some()
            || self.unpublished.is_some()
            || Arc::strong_count(&self.write_lock) > 1
            || Arc::strong_count(&self.redemption_lock) > 1
    }
}
