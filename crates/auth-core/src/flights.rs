//! What is going on for all keys, with a place for what each kind of source needs: the handle of an
//! attempt, and the lock of who changes the cache.

use std::collections::HashMap;
use std::time::SystemTime;

use crate::flight::Flight;
use crate::sync::{Arc, AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError};
use crate::{AccessToken, TokenKey};

/// What is remembered of so many keys at most; beyond, it is forgotten where no attempt runs.
const REMEMBERED: usize = 4096;

pub(crate) struct Flights<A, W> {
    state: Mutex<State<A, W>>,
    /// How many slots there are, to be read without the lock.
    occupied: AtomicUsize,
}

struct State<A, W> {
    /// Grows whenever everything is forgotten. What was begun before then must leave no trace after.
    epoch: u64,
    slots: HashMap<TokenKey, Slot<A, W>>,
}

/// What is going on for one key.
pub(crate) struct Slot<A, W> {
    pub(crate) flight: Flight,
    pub(crate) attempt: Option<A>,
    /// Locked by who changes what the cache has for the key, and held by who reads it.
    pub(crate) writing: Arc<W>,
}

impl<A, W: Default> Flights<A, W> {
    /// Nothing is going on for a key, so that a fresh token can be served as it is.
    pub(crate) fn is_quiet(&self, key: &TokenKey) -> bool {
        self.occupied.load(Ordering::Acquire) == 0 || !self.state().slots.contains_key(key)
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.state().epoch
    }

    /// Works on the slot of a key, in the epoch that is handed in as well.
    pub(crate) fn with<T>(&self, key: &TokenKey, work: impl FnOnce(&mut Slot<A, W>, u64) -> T) -> T {
        let mut state = self.state();
        if state.slots.len() >= REMEMBERED && !state.slots.contains_key(key) {
            state.slots.retain(|_, slot| slot.is_busy());
        }
        let epoch = state.epoch;
        let outcome = work(state.slots.entry(key.clone()).or_default(), epoch);
        self.occupied.store(state.slots.len(), Ordering::Release);
        outcome
    }

    /// The epoch, and the copy of a token that is kept here.
    pub(crate) fn kept(&self, key: &TokenKey, now: SystemTime) -> (u64, Option<AccessToken>) {
        let mut state = self.state();
        (state.epoch, state.slots.get_mut(key).and_then(|slot| slot.flight.kept(now)))
    }

    /// Whether a token was rejected and the cache may not know.
    pub(crate) fn is_rejected(&self, key: &TokenKey, token: &AccessToken) -> bool {
        self.state().slots.get(key).is_some_and(|slot| slot.flight.is_rejected(token))
    }

    /// Forgets everything but what must not be served. Attempts go on, for those who wait for them
    /// already. Returns the locks of those who may be changing the cache now.
    pub(crate) fn clear(&self) -> Vec<Arc<W>> {
        let mut state = self.state();
        state.epoch += 1;
        state.slots.retain(|_, slot| {
            slot.attempt = None;
            slot.rest();
            slot.flight.clear() || slot.is_busy()
        });
        self.occupied.store(state.slots.len(), Ordering::Release);
        state.slots.values().map(|slot| slot.writing.clone()).collect()
    }

    /// Drops the slot of a key for which nothing is going on.
    pub(crate) fn tidy(&self, key: &TokenKey, now: SystemTime) {
        let mut state = self.state();
        if state.slots.get_mut(key).is_some_and(|slot| slot.rest() && slot.flight.is_idle(now)) {
            state.slots.remove(key);
        }
        self.occupied.store(state.slots.len(), Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State<A, W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A, W> Slot<A, W> {
    /// Forgets what matters only while somebody is busy, if nobody is; says whether that is so.
    fn rest(&mut self) -> bool {
        let rests = !self.is_busy();
        if rests {
            self.flight.forget_settled();
        }
        rests
    }

    /// An attempt runs, or somebody reads or changes the cache.
    fn is_busy(&self) -> bool {
        self.attempt.is_some() || Arc::strong_count(&self.writing) > 1
    }
}

impl<A, W> Default for Flights<A, W> {
    fn default() -> Self {
        Self { state: Mutex::new(State { epoch: 0, slots: HashMap::new() }), occupied: AtomicUsize::new(0) }
    }
}

impl<A, W: Default> Default for Slot<A, W> {
    fn default() -> Self {
        Self { flight: Flight::default(), attempt: None, writing: Arc::default() }
    }
}
