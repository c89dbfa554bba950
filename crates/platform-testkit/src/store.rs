use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenCache, LeaseGuard, LeaseOutcome, RefreshLease, Secret, TokenError, TokenKey};
use tokio::sync::Notify;
use tokio::task::yield_now;

/// An in-memory store that simulates Redis shared by several processes: calls take time, it can be unavailable, and its
/// leases can expire. Clones share the same store.
///
/// By default it compares and deletes in two steps, like a cache that does not override
/// [`delete_if`](AsyncTokenCache::delete_if); see [`atomic`](Self::atomic).
#[derive(Clone, Debug, Default)]
pub struct RemoteStore(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    slots: Mutex<HashMap<TokenKey, Slot>>,
    freed: Notify,
    away: AtomicBool,
    calls: AtomicUsize,
    is_atomic: bool,
}

/// The content of the store for one key.
#[derive(Debug, Default)]
struct Slot {
    token: Option<AccessToken>,
    /// The refused refresh token.
    refused: Option<Secret>,
    /// The fence of the last write, or 0 without an entry.
    version: u64,
    /// The number of the last lease, write or deletion.
    fence: u64,
    /// The number of the current lease.
    lease: Option<u64>,
}

#[derive(Debug)]
struct Guard {
    store: RemoteStore,
    key: TokenKey,
    number: u64,
    /// The version of the entry when the lease was acquired.
    seen: u64,
    current: Option<AccessToken>,
    /// The token to redeem.
    predecessor: Option<AccessToken>,
    refused: Option<Secret>,
}

impl RemoteStore {
    /// Creates an empty, available store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty, available store that compares and deletes in one step.
    pub fn atomic() -> Self {
        Self(Arc::new(Inner { is_atomic: true, ..Inner::default() }))
    }

    /// Makes all calls fail, or makes the store available again.
    pub fn set_away(&self, away: bool) {
        self.0.away.store(away, Ordering::SeqCst);
    }

    /// Expires the lease of `key` without notice to its guard.
    pub fn expire_lease(&self, key: &TokenKey) {
        self.with(key, |slot| slot.lease = None);
        self.0.freed.notify_waiters();
    }

    /// Returns the number of calls.
    pub fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// Returns the token of `key` without counting a call.
    pub fn peek(&self, key: &TokenKey) -> Option<AccessToken> {
        self.slots().get(key)?.token.clone()
    }

    /// Simulates latency, and fails if the store is unavailable.
    async fn reach(&self) -> Result<(), TokenError> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        yield_now().await;
        if self.0.away.load(Ordering::SeqCst) {
            return Err(TokenError::cache("the remote store is away"));
        }
        Ok(())
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<TokenKey, Slot>> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, key: &TokenKey, work: impl FnOnce(&mut Slot) -> T) -> T {
        work(self.slots().entry(key.clone()).or_default())
    }
}

impl Slot {
    /// Stores an entry with this number. The fence never decreases.
    fn write(&mut self, number: u64, token: Option<AccessToken>, refused: Option<Secret>) {
        self.fence = self.fence.max(number);
        (self.token, self.refused, self.version) = (token, refused, number);
    }

    fn forget(&mut self) {
        (self.token, self.refused, self.version) = (None, None, 0);
    }
}

#[async_trait]
impl AsyncTokenCache for RemoteStore {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        self.reach().await?;
        let token = self.peek(key);
        yield_now().await;
        Ok(token)
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        self.reach().await?;
        self.with(key, |slot| slot.write(slot.fence + 1, Some(token.clone()), None));
        yield_now().await;
        Ok(())
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        self.reach().await?;
        self.with(key, |slot| {
            slot.fence += 1;
            slot.forget();
        });
        yield_now().await;
        Ok(())
    }

    async fn clear(&self) -> Result<(), TokenError> {
        self.reach().await?;
        for slot in self.slots().values_mut() {
            slot.fence += 1;
            slot.forget();
        }
        yield_now().await;
        Ok(())
    }

    async fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        let is_rejected = |kept: &AccessToken| kept.is_same(rejected);
        if self.0.is_atomic {
            self.reach().await?;
            let deleted = self.with(key, |slot| {
                let found = slot.token.as_ref().is_some_and(is_rejected);
                if found {
                    slot.forget();
                }
                found
            });
            yield_now().await;
            return Ok(deleted);
        }
        let found = self.get(key).await?.as_ref().is_some_and(is_rejected);
        if found {
            self.reach().await?;
            self.with(key, Slot::forget);
            yield_now().await;
        }
        Ok(found)
    }
}

#[async_trait]
impl RefreshLease for RemoteStore {
    async fn acquire(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        loop {
            self.reach().await?;
            let freed = self.0.freed.notified();
            let acquired = self.with(key, |slot| {
                let is_news = |token: &&AccessToken| previous.is_none_or(|previous| !previous.is_same(token));
                if let Some(token) = slot.token.as_ref().filter(is_news) {
                    return Some(LeaseOutcome::AlreadyRefreshed(token.clone()));
                }
                if slot.lease.is_some() {
                    return None;
                }
                slot.fence += 1;
                slot.lease = Some(slot.fence);
                Some(LeaseOutcome::Acquired(Box::new(Guard {
                    store: self.clone(),
                    key: key.clone(),
                    number: slot.fence,
                    seen: slot.version,
                    current: slot.token.clone(),
                    predecessor: slot.token.as_ref().or(previous).cloned(),
                    refused: slot.refused.clone(),
                })))
            });
            if let Some(acquired) = acquired {
                return Ok(acquired);
            }
            freed.await;
        }
    }
}

#[async_trait]
impl LeaseGuard for Guard {
    fn current(&self) -> Option<&AccessToken> {
        self.current.as_ref()
    }

    fn is_refused(&self, token: &AccessToken) -> bool {
        token.refresh_token().is_some() && token.refresh_token() == self.refused.as_ref()
    }

    async fn publish(&mut self, token: &AccessToken) -> Result<(), TokenError> {
        self.store.reach().await?;
        self.store.with(&self.key, |slot| self.write(slot, token));
        yield_now().await;
        self.release();
        Ok(())
    }

    async fn give_up(self: Box<Self>) {
        yield_now().await;
    }

    async fn discard(self: Box<Self>, refused: &AccessToken) -> Result<(), TokenError> {
        yield_now().await;
        self.store.with(&self.key, |slot| {
            let is_stored = slot.token.as_ref() == Some(refused);
            // Without an entry, the refused credential was the provider's.
            let is_unstored = self.predecessor.as_ref() == Some(refused) && slot.token.is_none() && slot.version == 0;
            if is_stored || (is_unstored && self.seen == 0 && slot.fence == self.number) {
                match refused.refresh_token() {
                    Some(refresh_token) => slot.write(self.number, None, Some(refresh_token.clone())),
                    None => slot.forget(),
                }
            }
        });
        Ok(())
    }
}

impl Guard {
    /// Writes a publication, unless another process stored something later.
    fn write(&self, slot: &mut Slot, token: &AccessToken) {
        let redeemed = self.predecessor.as_ref().and_then(AccessToken::refresh_token);
        let is_unchanged = self.current.is_some() && slot.version == self.seen;
        let lost_refresh_token = token.refresh_token().is_none()
            && redeemed.is_some()
            && self.predecessor.as_ref().is_some_and(|predecessor| predecessor.is_same(token));
        if lost_refresh_token && self.current.is_some() {
            // The refresh token was refused, and the access token is still valid.
            if is_unchanged {
                slot.write(self.number, Some(token.clone()), redeemed.cloned());
            }
            return;
        }
        let is_last = slot.fence == self.number;
        let replaces_its_own = redeemed.is_some() && (is_unchanged || slot.refused.as_ref() == redeemed);
        if is_last || replaces_its_own {
            slot.write(self.number, Some(token.clone()), None);
        }
    }

    fn release(&mut self) {
        let is_released =
            self.store.with(&self.key, |slot| slot.lease.take_if(|lease| *lease == self.number).is_some());
        if is_released {
            self.store.0.freed.notify_waiters();
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.release();
    }
}
