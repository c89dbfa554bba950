use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenCache, LeaseGuard, LeaseOutcome, RefreshLease, Secret, TokenError, TokenKey};
use tokio::sync::Notify;
use tokio::task::yield_now;

/// An in-memory store that simulates a Redis server shared by several processes. Calls yield to other tasks, the store
/// can be unavailable, and its leases can expire. Clones share the same store.
///
/// By default, [`delete_if`](AsyncTokenCache::delete_if) compares and deletes in two steps, like a cache that does not
/// override the method. [`atomic`](Self::atomic) creates a store that does both in one step.
#[derive(Clone, Debug, Default)]
pub struct RemoteStore(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    slots: Mutex<HashMap<TokenKey, Slot>>,
    lease_released: Notify,
    unavailable: AtomicBool,
    calls: AtomicUsize,
    is_atomic: bool,
}

/// The content of the store for one key.
#[derive(Debug, Default)]
struct Slot {
    token: Option<AccessToken>,
    /// The refused refresh token.
    refused: Option<Secret>,
    /// The fencing number of the last write; 0 if the slot has no entry.
    version: u64,
    /// The highest fencing number so far, which increases with each lease, write and deletion.
    fence: u64,
    /// The fencing number of the current lease.
    lease: Option<u64>,
}

#[derive(Debug)]
struct Guard {
    store: RemoteStore,
    key: TokenKey,
    fence_number: u64,
    /// The version of the entry when the lease was acquired.
    acquired_version: u64,
    current: Option<AccessToken>,
    /// The token that the holder of the lease refreshes.
    predecessor: Option<AccessToken>,
    refused: Option<Secret>,
}

impl RemoteStore {
    /// Creates an empty, available store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty, available store whose `delete_if` compares and deletes in one step.
    pub fn atomic() -> Self {
        Self(Arc::new(Inner { is_atomic: true, ..Inner::default() }))
    }

    /// Makes all calls fail, or makes the store available again.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.0.unavailable.store(unavailable, Ordering::SeqCst);
    }

    /// Expires the lease of `key` without notifying its guard.
    pub fn expire_lease(&self, key: &TokenKey) {
        self.with_slot(key, |slot| slot.lease = None);
        self.0.lease_released.notify_waiters();
    }

    /// Returns the number of calls so far.
    pub fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// Returns the token of `key` without counting a call.
    pub fn peek(&self, key: &TokenKey) -> Option<AccessToken> {
        self.slots().get(key)?.token.clone()
    }

    /// Counts a call and yields to simulate its latency. Returns an error if the store is unavailable.
    async fn simulate_call(&self) -> Result<(), TokenError> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        yield_now().await;
        if self.0.unavailable.load(Ordering::SeqCst) {
            return Err(TokenError::cache("the remote store is unavailable"));
        }
        Ok(())
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<TokenKey, Slot>> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_slot<T>(&self, key: &TokenKey, change: impl FnOnce(&mut Slot) -> T) -> T {
        change(self.slots().entry(key.clone()).or_default())
    }
}

impl Slot {
    /// Stores an entry with a fencing number. The highest fencing number never decreases.
    fn write(&mut self, fence_number: u64, token: Option<AccessToken>, refused: Option<Secret>) {
        self.fence = self.fence.max(fence_number);
        (self.token, self.refused, self.version) = (token, refused, fence_number);
    }

    fn delete_entry(&mut self) {
        (self.token, self.refused, self.version) = (None, None, 0);
    }
}

#[async_trait]
impl AsyncTokenCache for RemoteStore {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        self.simulate_call().await?;
        let token = self.peek(key);
        yield_now().await;
        Ok(token)
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        self.simulate_call().await?;
        self.with_slot(key, |slot| slot.write(slot.fence + 1, Some(token.clone()), None));
        yield_now().await;
        Ok(())
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        self.simulate_call().await?;
        self.with_slot(key, |slot| {
            slot.fence += 1;
            slot.delete_entry();
        });
        yield_now().await;
        Ok(())
    }

    async fn clear(&self) -> Result<(), TokenError> {
        self.simulate_call().await?;
        for slot in self.slots().values_mut() {
            slot.fence += 1;
            slot.delete_entry();
        }
        yield_now().await;
        Ok(())
    }

    async fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        let is_rejected = |stored_token: &AccessToken| stored_token.is_same(rejected);
        if self.0.is_atomic {
            self.simulate_call().await?;
            let is_deleted = self.with_slot(key, |slot| {
                let is_match = slot.token.as_ref().is_some_and(is_rejected);
                if is_match {
                    slot.delete_entry();
                }
                is_match
            });
            yield_now().await;
            return Ok(is_deleted);
        }
        let is_match = self.get(key).await?.as_ref().is_some_and(is_rejected);
        if is_match {
            self.simulate_call().await?;
            self.with_slot(key, Slot::delete_entry);
            yield_now().await;
        }
        Ok(is_match)
    }
}

#[async_trait]
impl RefreshLease for RemoteStore {
    async fn acquire(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        loop {
            self.simulate_call().await?;
            let lease_released = self.0.lease_released.notified();
            let outcome = self.with_slot(key, |slot| {
                let is_newer = |token: &&AccessToken| previous.is_none_or(|previous| !previous.is_same(token));
                if let Some(token) = slot.token.as_ref().filter(is_newer) {
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
                    fence_number: slot.fence,
                    acquired_version: slot.version,
                    current: slot.token.clone(),
                    predecessor: slot.token.as_ref().or(previous).cloned(),
                    refused: slot.refused.clone(),
                })))
            });
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
            lease_released.await;
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
        self.store.simulate_call().await?;
        self.store.with_slot(&self.key, |slot| self.write(slot, token));
        yield_now().await;
        self.free_lease();
        Ok(())
    }

    async fn release(self: Box<Self>) {
        yield_now().await;
    }

    async fn discard(self: Box<Self>, refused: &AccessToken) -> Result<(), TokenError> {
        yield_now().await;
        self.store.with_slot(&self.key, |slot| {
            let is_stored = slot.token.as_ref() == Some(refused);
            // The provider may have read the refused credential from its configuration. Such a credential is not
            // stored.
            let was_never_stored =
                self.predecessor.as_ref() == Some(refused) && slot.token.is_none() && slot.version == 0;
            if is_stored || (was_never_stored && self.acquired_version == 0 && slot.fence == self.fence_number) {
                match refused.refresh_token() {
                    Some(refresh_token) => slot.write(self.fence_number, None, Some(refresh_token.clone())),
                    None => slot.delete_entry(),
                }
            }
        });
        Ok(())
    }
}

impl Guard {
    /// Writes a published token unless another process has changed the entry since. A late publication still replaces
    /// the entry or the refusal of the refresh token that it has redeemed.
    fn write(&self, slot: &mut Slot, token: &AccessToken) {
        let redeemed_refresh_token = self.predecessor.as_ref().and_then(AccessToken::refresh_token);
        let entry_is_unchanged = self.current.is_some() && slot.version == self.acquired_version;
        let drops_refresh_token = token.refresh_token().is_none()
            && redeemed_refresh_token.is_some()
            && self.predecessor.as_ref().is_some_and(|predecessor| predecessor.is_same(token));
        if drops_refresh_token && self.current.is_some() {
            // The issuer has refused the refresh token, and the access token is still valid.
            if entry_is_unchanged {
                slot.write(self.fence_number, Some(token.clone()), redeemed_refresh_token.cloned());
            }
            return;
        }
        let has_latest_fence = slot.fence == self.fence_number;
        let replaces_its_predecessor =
            redeemed_refresh_token.is_some() && (entry_is_unchanged || slot.refused.as_ref() == redeemed_refresh_token);
        if has_latest_fence || replaces_its_predecessor {
            slot.write(self.fence_number, Some(token.clone()), None);
        }
    }

    fn free_lease(&mut self) {
        let is_released =
            self.store.with_slot(&self.key, |slot| slot.lease.take_if(|lease| *lease == self.fence_number).is_some());
        if is_released {
            self.store.0.lease_released.notify_waiters();
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.free_lease();
    }
}
