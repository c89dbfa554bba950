//! The state of all keys of a source.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use crate::source::flight::Flight;
use crate::source::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError};
use crate::source::unpublished::Unpublished;
use crate::source::waiting::Progress;
use crate::token::AccessToken;
use crate::token::key::TokenKey;

/// The number of keys with state at which the state of keys that are not in use is removed.
const CLEANUP_THRESHOLD: usize = 4096;

#[derive(Default)]
pub(crate) struct Flights {
    state: Mutex<State>,
    /// The number of slots, readable without the lock.
    occupied: AtomicUsize,
}

#[derive(Default)]
struct State {
    epoch: Epoch,
    slots: HashMap<TokenKey, Slot>,
}

/// A counter of clears and invalidations. Work that started in an earlier epoch must not leave state in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epoch {
    /// The number of times that everything was deleted, including the cache. Work that started before must not write to
    /// the cache, either.
    clears: u64,
    /// The number of times that only the copies in memory were removed.
    invalidations: u64,
}

impl Epoch {
    /// Returns true if everything was deleted since `earlier`.
    pub(crate) fn is_cleared_since(self, earlier: Self) -> bool {
        self.clears != earlier.clears
    }
}

/// The lock for changes of the cache under one key.
pub(crate) type Writing = tokio::sync::Mutex<()>;

/// The state of one key.
#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) flight: Flight,
    pub(crate) attempt: Option<watch::Receiver<Progress>>,
    /// A token that could not be stored yet.
    pub(crate) unpublished: Option<Arc<Unpublished>>,
    /// Locked by tasks that change the cache under the key, and referenced by tasks that read it.
    pub(crate) writing: Arc<Writing>,
    /// Locked by the attempt that holds a single-use credential: after a clear, another attempt may be waiting.
    pub(crate) redeeming: Arc<tokio::sync::Mutex<()>>,
}

impl Flights {
    /// Returns true if a key has no state, so that a fresh token can be served without a decision.
    pub(crate) fn is_quiet(&self, key: &TokenKey) -> bool {
        self.occupied.load(Ordering::Acquire) == 0 || !self.state().slots.contains_key(key)
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.state().epoch
    }

    /// Accesses the slot of a key; the second argument of `work` is the current epoch.
    pub(crate) fn with<T>(&self, key: &TokenKey, work: impl FnOnce(&mut Slot, Epoch) -> T) -> T {
        let mut state = self.state();
        if state.slots.len() >= CLEANUP_THRESHOLD && !state.slots.contains_key(key) {
            state.slots.retain(|_, slot| slot.is_busy());
        }
        let epoch = state.epoch;
        let outcome = work(state.slots.entry(key.clone()).or_default(), epoch);
        self.occupied.store(state.slots.len(), Ordering::Release);
        outcome
    }

    /// Returns the epoch, and the token that this process holds for the key: one that could not be stored yet, or a
    /// copy.
    pub(crate) fn held_token(&self, key: &TokenKey, now: SystemTime) -> (Epoch, Option<AccessToken>) {
        let state = self.state();
        let slot = state.slots.get(key);
        let held = slot.and_then(|slot| slot.unpublished_token().or_else(|| slot.flight.local_copy(now)));
        (state.epoch, held)
    }

    /// Returns true if a token was rejected and the cache may still return it.
    pub(crate) fn is_rejected(&self, key: &TokenKey, token: &AccessToken) -> bool {
        self.state().slots.get(key).is_some_and(|slot| slot.flight.is_rejected(token))
    }

    /// Removes everything except tokens that must not be served. Attempts continue for callers that already wait.
    /// Returns the locks of tasks that may be changing the cache.
    pub(crate) fn clear(&self) -> Vec<Arc<Writing>> {
        let mut state = self.state();
        state.epoch.clears += 1;
        state.slots.values_mut().for_each(|slot| slot.unpublished = None);
        self.forget(&mut state);
        state.slots.values().map(|slot| slot.writing.clone()).collect()
    }

    /// Removes copies of tokens, and failures. Attempts continue for callers that already wait, and store what they
    /// redeem.
    pub(crate) fn invalidate(&self) {
        let mut state = self.state();
        state.epoch.invalidations += 1;
        self.forget(&mut state);
    }

    fn forget(&self, state: &mut State) {
        state.slots.retain(|_, slot| {
            slot.attempt = None;
            slot.rest();
            slot.flight.clear() || slot.is_busy()
        });
        self.occupied.store(state.slots.len(), Ordering::Release);
    }

    /// Removes the slot of a key without state.
    pub(crate) fn tidy(&self, key: &TokenKey, now: SystemTime) {
        let mut state = self.state();
        if state.slots.get_mut(key).is_some_and(|slot| slot.rest() && slot.flight.is_idle(now)) {
            state.slots.remove(key);
        }
        self.occupied.store(state.slots.len(), Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    pub(crate) fn unpublished_token(&self) -> Option<AccessToken> {
        self.unpublished.as_ref().map(|unpublished| unpublished.token())
    }

    /// If the slot is not in use, removes the state that matters only while it is, and returns true.
    fn rest(&mut self) -> bool {
        let rests = !self.is_busy();
        if rests {
            self.flight.forget_settled();
        }
        rests
    }

    /// Returns true while an attempt is running, a token waits to be stored, or the cache is read or changed.
    fn is_busy(&self) -> bool {
        self.attempt.is_some()
            || self.unpublished.is_some()
            || Arc::strong_count(&self.writing) > 1
            || Arc::strong_count(&self.redeeming) > 1
    }
}
