//! The cached cards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use auth_core::Clock;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::AgentCard;
use super::hints::Hints;
use crate::principal::{CachePartition, Principal};
use crate::server::AgentAddress;

/// The maximum size of all cached cards, in bytes of JSON. The least recently used one is removed first.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// The estimated size of an entry in addition to its card, in bytes.
const ENTRY_BYTES: usize = 1024;
/// The maximum lifetime of a cached card.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The key of a card: an agent and a principal. An agent may return different cards to different principals.
type CardKey = (AgentAddress, CachePartition);

/// The cached cards. A card is used until its lifetime ends; then a conditional request revalidates it. The server can
/// specify the lifetime; otherwise, it is the lifetime of tool lists.
///
/// A card is never used for another principal, even if the server permits it (`public`).
pub(crate) struct CardCache {
    cards: Cache<CardKey, CachedCard>,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
    /// Incremented by each invalidation, so that a card is not stored if it was requested before the invalidation.
    epoch: AtomicU64,
}

#[derive(Clone)]
pub(super) struct CachedCard {
    pub(super) card: AgentCard,
    pub(super) hints: Hints,
    expires_at: SystemTime,
}

pub(super) fn card_key(agent: &AgentAddress, principal: &Principal) -> CardKey {
    (agent.clone(), principal.cache_partition())
}

impl CardCache {
    pub(crate) fn new(lifetime: Duration, clock: Arc<dyn Clock>) -> Self {
        let weight =
            |_: &CardKey, cached: &CachedCard| u32::try_from(cached.card.size() + ENTRY_BYTES).unwrap_or(u32::MAX);
        let cards = Cache::builder().weigher(weight).max_capacity(MAX_BYTES).eviction_policy(EvictionPolicy::lru());
        Self { cards: cards.build(), lifetime, clock, epoch: AtomicU64::new(0) }
    }

    /// Returns a card. The caller must revalidate it unless it is fresh.
    pub(super) fn get(&self, key: &CardKey) -> Option<CachedCard> {
        self.cards.get(key)
    }

    /// Returns true if the lifetime of a card has not ended.
    pub(super) fn is_fresh(&self, cached: &CachedCard) -> bool {
        self.clock.now() < cached.expires_at
    }

    /// Returns the epoch for [`insert`](Self::insert). Read it before the card is requested.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Stores a card, unless the cache was invalidated since `epoch`, or the server forbids it.
    pub(super) fn insert(&self, key: &CardKey, card: AgentCard, hints: Hints, epoch: u64) {
        // A configured lifetime of zero disables the cache.
        if self.lifetime.is_zero() || !hints.may_store {
            self.cards.invalidate(key);
            return;
        }
        let lifetime = hints.lifetime.unwrap_or(self.lifetime).min(MAX_LIFETIME);
        let Some(expires_at) = self.clock.now().checked_add(lifetime) else { return };
        self.cards.insert(key.clone(), CachedCard { card, hints, expires_at });
        // An invalidation increments the epoch before it removes cards. Either the change is visible here, or the
        // invalidation removes this card.
        if self.epoch() != epoch {
            self.cards.invalidate(key);
        }
    }

    pub(crate) fn invalidate_all(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.cards.invalidate_all();
    }
}
