//! Cached responses, and requests in flight.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use auth_core::Secret;
use futures_util::future::{BoxFuture, FutureExt, Shared, WeakShared};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use platform_api::Operation;

use super::Shared as Outcome;
use super::mode::{Caching, Group, Mode};
use super::principal::Principal;

/// The maximum number of cached responses.
const KEPT: u64 = 1000;
/// The maximum number of principals with their own generations. Above it, a change invalidates the responses of all
/// principals.
const GENERATIONS: usize = 1000;

type SharedCall = Shared<BoxFuture<'static, Outcome>>;

/// The request and its principal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    principal: Principal,
    operation: &'static str,
    /// Path and query, if not empty.
    parameters: String,
    share_token: Option<String>,
    generation: (u64, u64),
}

/// A cached response, or a request in flight.
pub(super) enum Lookup {
    Cached(Arc<dyn Any + Send + Sync>),
    InFlight(SharedCall),
}

#[derive(Clone)]
struct CachedResponse {
    answer: Arc<dyn Any + Send + Sync>,
    until: SystemTime,
    /// The number of the request.
    number: u64,
}

/// The key of a shared request. Callers with another deadline, or without a wait for replicas, do not share it.
type CallKey = (Key, bool, Option<Duration>);

pub(super) struct ReadCache {
    responses: Cache<Key, CachedResponse>,
    in_flight: Mutex<HashMap<CallKey, WeakShared<BoxFuture<'static, Outcome>>>>,
    /// The number of requests so far.
    number: AtomicU64,
    generations: Mutex<Generations>,
}

/// Counters of writes: a response from before a write is never found after it.
#[derive(Default)]
struct Generations {
    of_all: HashMap<Group, u64>,
    of_each: HashMap<(Principal, Group), u64>,
}

impl ReadCache {
    pub(super) fn new() -> Self {
        Self {
            // The default policy may reject new entries.
            responses: Cache::builder().max_capacity(KEPT).eviction_policy(EvictionPolicy::lru()).build(),
            in_flight: Mutex::default(),
            number: AtomicU64::default(),
            generations: Mutex::default(),
        }
    }

    pub(super) fn key<O: Operation>(
        &self,
        operation: &O,
        group: Group,
        principal: Principal,
        share_token: Option<&Secret>,
    ) -> Key {
        let generations = self.generations();
        let of_all = generations.of_all.get(&group).copied().unwrap_or_default();
        let of_each = generations.of_each.get(&(principal, group)).copied().unwrap_or_default();
        let share_token = share_token.filter(|_| O::SHAREABLE).map(|token| token.expose().to_owned());
        Key {
            principal,
            operation: O::ID,
            parameters: platform_api::parameters(operation),
            share_token,
            generation: (of_all, of_each),
        }
    }

    /// Returns the cached response for `key`, or a request shared with concurrent callers. Bypassing the cache sends a
    /// new request.
    pub(super) fn find(
        &self,
        key: &Key,
        now: SystemTime,
        mode: &Mode,
        ask: impl FnOnce(u64) -> BoxFuture<'static, Outcome>,
    ) -> Lookup {
        if let Some(cached) =
            self.responses.get(key).filter(|cached| mode.caching == Caching::Use && now < cached.until)
        {
            return Lookup::Cached(cached.answer);
        }
        let call_key = (key.clone(), mode.no_wait, mode.deadline);
        let mut all = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(call) = all.get(&call_key).filter(|_| mode.caching == Caching::Use).and_then(WeakShared::upgrade) {
            return Lookup::InFlight(call);
        }
        let call = ask(self.number.fetch_add(1, Ordering::Relaxed)).shared();
        // Removes requests without waiting callers.
        all.retain(|_, call| call.upgrade().is_some());
        all.extend(call.downgrade().map(|weak| (call_key, weak)));
        Lookup::InFlight(call)
    }

    /// Caches the response to a request, unless that of a later request is cached.
    pub(super) fn keep(&self, key: Key, number: u64, answer: Arc<dyn Any + Send + Sync>, until: SystemTime) {
        let cached = CachedResponse { answer, until, number };
        self.responses.entry(key).and_upsert_with(|before| match before {
            Some(before) if before.value().number > number => before.into_value(),
            _ => cached,
        });
    }

    /// Invalidates the responses of one principal, or of all.
    pub(super) fn forget(&self, whose: Option<&Principal>, group: Group) {
        let mut generations = self.generations();
        match whose {
            Some(principal) if generations.of_each.len() < GENERATIONS => {
                *generations.of_each.entry((*principal, group)).or_default() += 1;
            }
            _ => *generations.of_all.entry(group).or_default() += 1,
        }
    }

    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ReadCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ReadCache").field("responses", &self.responses.entry_count()).finish_non_exhaustive()
    }
}
