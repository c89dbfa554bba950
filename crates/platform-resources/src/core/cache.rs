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
/// The maximum number of write counters, one for each principal and group. When it is reached, each write invalidates
/// the responses of all principals.
const MAX_WRITE_COUNTERS: usize = 1000;

type SharedCall = Shared<BoxFuture<'static, SharedResult>>;

/// The key of a cached response: the request, its principal and share token, and the write counters at the time of the
/// request.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct ResponseKey {
    principal: Principal,
    operation: &'static str,
    /// The path parameters and the query.
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
    response: Arc<dyn Any + Send + Sync>,
    expires_at: SystemTime,
    request_number: u64,
}

/// The key of a request in flight. Only callers with the same deadline and `no_wait` share a request.
#[derive(PartialEq, Eq, Hash)]
struct CallKey {
    key: ResponseKey,
    no_wait: bool,
    deadline: Option<Duration>,
}

pub(super) struct ReadCache {
    responses: Cache<ResponseKey, CachedResponse>,
    in_flight: Mutex<HashMap<CallKey, WeakShared<BoxFuture<'static, SharedResult>>>>,
    /// The number of requests that were sent.
    request_count: AtomicU64,
    generations: Mutex<Generations>,
}

/// Write counters. They are part of each key, so responses from before a write are no longer found after it.
#[derive(Default)]
struct Generations {
    global: HashMap<Group, u64>,
    per_principal: HashMap<(Principal, Group), u64>,
}

impl ReadCache {
    pub(super) fn new() -> Self {
        Self {
            // The default eviction policy may reject new entries.
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
    ) -> ResponseKey {
        let generations = self.generations();
        let global = generations.global.get(&group).copied().unwrap_or_default();
        let per_principal = generations.per_principal.get(&(principal, group)).copied().unwrap_or_default();
        let share_token = share_token.filter(|_| O::SHAREABLE).map(|token| token.expose().to_owned());
        ResponseKey {
            principal,
            operation: O::ID,
            parameters: platform_api::parameters(operation),
            share_token,
            generation: (global, per_principal),
        }
    }

    /// Returns the cached response for `key`, or a request that concurrent callers share. If `mode` bypasses the cache,
    /// returns a new request.
    pub(super) fn find(
        &self,
        key: &ResponseKey,
        now: SystemTime,
        mode: &Mode,
        send: impl FnOnce(u64) -> BoxFuture<'static, SharedResult>,
    ) -> Lookup {
        if let Some(cached) =
            self.responses.get(key).filter(|cached| mode.caching == Caching::Use && now < cached.expires_at)
        {
            return Lookup::Cached(cached.response);
        }
        let call_key = CallKey { key: key.clone(), no_wait: mode.no_wait, deadline: mode.deadline };
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        let call_in_flight =
            in_flight.get(&call_key).filter(|_| mode.caching == Caching::Use).and_then(WeakShared::upgrade);
        if let Some(call) = call_in_flight {
            return Lookup::InFlight(call);
        }
        let call = send(self.request_count.fetch_add(1, Ordering::Relaxed)).shared();
        // Removes requests for which no caller waits.
        in_flight.retain(|_, call| call.upgrade().is_some());
        in_flight.extend(call.downgrade().map(|weak| (call_key, weak)));
        Lookup::InFlight(call)
    }

    /// Caches the response to a request, unless the response to a later request is cached already.
    pub(super) fn store(
        &self,
        key: ResponseKey,
        request_number: u64,
        response: Arc<dyn Any + Send + Sync>,
        expires_at: SystemTime,
    ) {
        let cached = CachedResponse { response, expires_at, request_number };
        self.responses.entry(key).and_upsert_with(|existing| match existing {
            Some(existing) if existing.value().request_number > request_number => existing.into_value(),
            _ => cached,
        });
    }

    /// Invalidates the responses of one principal, or of all principals with `None`.
    pub(super) fn invalidate(&self, principal: Option<&Principal>, group: Group) {
        let mut generations = self.generations();
        match principal {
            Some(principal) if generations.per_principal.len() < MAX_WRITE_COUNTERS => {
                *generations.per_principal.entry((*principal, group)).or_default() += 1;
            }
            _ => *generations.global.entry(group).or_default() += 1,
        }
    }

    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guard for a write in progress. It invalidates the affected responses when it is dropped, because the write may
/// take effect even if it fails.
pub(super) struct InvalidationGuard<'a> {
    pub(super) cache: &'a ReadCache,
    pub(super) principal: Principal,
    /// True if the write was made with the token of `principal`. Otherwise the responses of all principals are
    /// invalidated.
    pub(super) belongs_to_token: bool,
    pub(super) invalidates: &'static [Group],
}

impl Drop for InvalidationGuard<'_> {
    fn drop(&mut self) {
        let principal = self.belongs_to_token.then_some(&self.principal);
        self.invalidates.iter().for_each(|&group| self.cache.invalidate(principal, group));
    }
}

impl fmt::Debug for ReadCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ReadCache").field("responses", &self.responses.entry_count()).finish_non_exhaustive()
    }
}
