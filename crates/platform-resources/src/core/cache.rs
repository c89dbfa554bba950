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

use super::SharedResult;
use super::mode::{Caching, Group, Mode};
use super::principal::Principal;

/// The maximum number of cached responses.
const MAX_RESPONSES: u64 = 1000;
/// The maximum number of counters, each for one principal and group. Once it is reached, every write invalidates the
/// responses of all principals.
const MAX_COUNTERS: usize = 1000;

type SharedCall = Shared<BoxFuture<'static, SharedResult>>;

/// The key of a cached response: the request, its principal and share token, and the generation at the time of
/// the request.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    principal: Principal,
    operation: &'static str,
    /// The path parameters, and the query if there is one.
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
    request_number: u64,
}

/// The key of a request in flight. Only callers with the same deadline and the same `no_wait` share a request.
#[derive(PartialEq, Eq, Hash)]
struct CallKey {
    key: Key,
    no_wait: bool,
    deadline: Option<Duration>,
}

pub(super) struct ReadCache {
    responses: Cache<Key, CachedResponse>,
    in_flight: Mutex<HashMap<CallKey, WeakShared<BoxFuture<'static, SharedResult>>>>,
    /// The number of requests so far.
    request_count: AtomicU64,
    generations: Mutex<Generations>,
}

/// Counters of writes. They are part of each key, so a write makes all earlier responses unreachable.
#[derive(Default)]
struct Generations {
    of_all: HashMap<Group, u64>,
    of_each: HashMap<(Principal, Group), u64>,
}

impl ReadCache {
    pub(super) fn new() -> Self {
        Self {
            // The default policy may reject new entries.
            responses: Cache::builder().max_capacity(MAX_RESPONSES).eviction_policy(EvictionPolicy::lru()).build(),
            in_flight: Mutex::default(),
            request_count: AtomicU64::default(),
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

    /// Returns the cached response for `key`, or a request shared with concurrent callers. Unless `mode` uses the
    /// cache, always sends a new request.
    pub(super) fn find(
        &self,
        key: &Key,
        now: SystemTime,
        mode: &Mode,
        send: impl FnOnce(u64) -> BoxFuture<'static, SharedResult>,
    ) -> Lookup {
        if let Some(cached) =
            self.responses.get(key).filter(|cached| mode.caching == Caching::Use && now < cached.until)
        {
            return Lookup::Cached(cached.answer);
        }
        let call_key = CallKey { key: key.clone(), no_wait: mode.no_wait, deadline: mode.deadline };
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        let joined = in_flight.get(&call_key).filter(|_| mode.caching == Caching::Use).and_then(WeakShared::upgrade);
        if let Some(call) = joined {
            return Lookup::InFlight(call);
        }
        let call = send(self.request_count.fetch_add(1, Ordering::Relaxed)).shared();
        // Removes requests without waiting callers.
        in_flight.retain(|_, call| call.upgrade().is_some());
        in_flight.extend(call.downgrade().map(|weak| (call_key, weak)));
        Lookup::InFlight(call)
    }

    /// Caches the response to a request, unless that of a later request is cached.
    pub(super) fn keep(&self, key: Key, request_number: u64, answer: Arc<dyn Any + Send + Sync>, until: SystemTime) {
        let cached = CachedResponse { answer, until, request_number };
        self.responses.entry(key).and_upsert_with(|before| match before {
            Some(before) if before.value().request_number > request_number => before.into_value(),
            _ => cached,
        });
    }

    /// Invalidates the responses of one principal, or of all.
    pub(super) fn forget(&self, whose: Option<&Principal>, group: Group) {
        let mut generations = self.generations();
        match whose {
            Some(principal) if generations.of_each.len() < MAX_COUNTERS => {
                *generations.of_each.entry((*principal, group)).or_default() += 1;
            }
            _ => *generations.of_all.entry(group).or_default() += 1,
        }
    }

    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change in progress. However it ends, it may have taken effect.
pub(super) struct Changing<'a> {
    pub(super) cache: &'a ReadCache,
    pub(super) principal: Principal,
    pub(super) is_of_token: bool,
    pub(super) clears: &'static [Group],
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        let whose = self.is_of_token.then_some(&self.principal);
        self.clears.iter().for_each(|&group| self.cache.forget(whose, group));
    }
}

impl fmt::Debug for ReadCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ReadCache").field("responses", &self.responses.entry_count()).finish_non_exhaustive()
    }
}
