//! The cached tool lists.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use auth_core::Clock;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::listing::ToolList;
use crate::principal::{Partition, Principal};
use crate::server::Server;

/// The maximum number of cached lists. The least recently used one is removed first.
const MAX_LISTS: u64 = 2048;
/// The maximum lifetime that a server may state (`ttlMs`).
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The combination of one principal and one server. A server may offer different tools to different principals.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey {
    pub(crate) server: Server,
    principal: Partition,
}

/// The cached tool lists, one per session key. A list is used until its lifetime ends or its server reports a change. The
/// lifetime is the one that the server states, or else the one of the gateway.
///
/// A list is never used for another principal, even if the server permits it (`cacheScope: public`): the server may be
/// wrong, and the list costs one request.
pub(crate) struct ToolCache {
    lists: Cache<SessionKey, CachedTools>,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
    /// Incremented by each invalidation. Lists that were requested before are not stored.
    epoch: AtomicU64,
}

#[derive(Clone)]
struct CachedTools {
    tools: Arc<ToolList>,
    until: SystemTime,
}

impl SessionKey {
    pub(crate) fn new(server: &Server, principal: &Principal) -> Self {
        Self { server: server.clone(), principal: principal.cache_partition() }
    }
}

impl ToolCache {
    pub(crate) fn new(lifetime: Duration, clock: Arc<dyn Clock>) -> Self {
        let lists = Cache::builder().max_capacity(MAX_LISTS).eviction_policy(EvictionPolicy::lru()).build();
        Self { lists, lifetime, clock, epoch: AtomicU64::new(0) }
    }

    pub(crate) fn get(&self, key: &SessionKey) -> Option<Arc<ToolList>> {
        self.lists.get(key).filter(|cached| self.clock.now() < cached.until).map(|cached| cached.tools)
    }

    /// Returns the epoch for [`keep`](Self::keep). Read it before the list is requested.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Stores the list of a session key, unless the cache was invalidated since `epoch`.
    pub(crate) fn keep(&self, key: &SessionKey, tools: &Arc<ToolList>, epoch: u64) {
        let lifetime = match tools.lifetime {
            // Without a lifetime of the gateway, nothing is cached.
            Some(stated) if !self.lifetime.is_zero() => stated.min(MAX_LIFETIME),
            _ => self.lifetime,
        };
        let Some(until) = self.clock.now().checked_add(lifetime) else { return };
        self.lists.insert(key.clone(), CachedTools { tools: tools.clone(), until });
        // An invalidation increments the epoch first: it is seen here, or it removes the list that was just stored.
        if self.epoch() != epoch {
            self.lists.invalidate(key);
        }
    }

    pub(crate) fn forget(&self, key: &SessionKey) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.lists.invalidate(key);
    }

    pub(crate) fn forget_all(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.lists.invalidate_all();
    }
}
