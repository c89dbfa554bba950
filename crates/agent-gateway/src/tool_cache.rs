//! The cached tool lists.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use auth_core::Clock;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::listing::ToolList;
use crate::principal::{CachePartition, Principal};
use crate::server::Server;

/// The maximum number of cached lists. The least recently used one is removed first.
const MAX_LISTS: u64 = 2048;
/// The maximum lifetime that a server can specify (`ttlMs`).
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The combination of one principal and one server. A server may offer different tools to different principals.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey {
    pub(crate) server: Server,
    principal: CachePartition,
}

/// The cached tool lists, one per session key. A list is used until its lifetime ends or its server reports a change.
/// The server can specify the lifetime; otherwise, the configuration of the gateway applies.
///
/// A list is never used for another principal, even if the server permits it (`cacheScope: public`): the server may be
/// wrong, and the list costs one request.
pub(crate) struct ToolCache {
    lists: Cache<SessionKey, CachedTools>,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
    /// Incremented by each invalidation, so that a list is not stored if it was requested before the invalidation.
    epoch: AtomicU64,
}

#[derive(Clone)]
struct CachedTools {
    tools: Arc<ToolList>,
    expires_at: SystemTime,
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
        self.lists.get(key).filter(|cached| self.clock.now() < cached.expires_at).map(|cached| cached.tools)
    }

    /// Returns the epoch for [`insert`](Self::insert). Read it before the list is requested.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Stores the list of a session key, unless the cache was invalidated since `epoch`.
    pub(crate) fn insert(&self, key: &SessionKey, tools: &Arc<ToolList>, epoch: u64) {
        let lifetime = match tools.lifetime {
            // A configured lifetime of zero disables the cache.
            Some(declared) if !self.lifetime.is_zero() => declared.min(MAX_LIFETIME),
            _ => self.lifetime,
        };
        let Some(expires_at) = self.clock.now().checked_add(lifetime) else { return };
        self.lists.insert(key.clone(), CachedTools { tools: tools.clone(), expires_at });
        // An invalidation increments the epoch before it removes lists. Either the change is visible here, or the
        // invalidation removes this list.
        if self.epoch() != epoch {
            self.lists.invalidate(key);
        }
    }

    pub(crate) fn invalidate(&self, key: &SessionKey) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.lists.invalidate(key);
    }

    pub(crate) fn invalidate_all(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.lists.invalidate_all();
    }
}
