use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use auth_core::{AccessToken, Acquired, AsyncTokenCache, LeaseGuard, RefreshLease, TokenError, TokenKey};
use tokio::sync::Notify;
use tokio::task::yield_now;

/// A store that several sources share as several processes share Redis: no answer comes at once, it
/// can be away, it compares and deletes in two steps, and it gives out leases. Clones are one store.
#[derive(Clone, Debug, Default)]
pub struct RemoteStore(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tokens: Mutex<HashMap<TokenKey, AccessToken>>,
    leased: Mutex<HashSet<TokenKey>>,
    freed: Notify,
    away: AtomicBool,
    calls: AtomicUsize,
}

#[derive(Debug)]
struct Guard {
    store: RemoteStore,
    key: TokenKey,
    current: Option<AccessToken>,
    is_released: bool,
}

impl RemoteStore {
    /// An empty store that answers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets every call fail, or answers again.
    pub fn set_away(&self, away: bool) {
        self.0.away.store(away, Ordering::SeqCst);
    }

    /// How often it was called.
    pub fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// What is kept under `key`, without a call.
    pub fn peek(&self, key: &TokenKey) -> Option<AccessToken> {
        self.tokens().get(key).cloned()
    }

    /// The way to the store: it takes a while, and may lead nowhere.
    async fn reach(&self) -> Result<(), TokenError> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        yield_now().await;
        if self.0.away.load(Ordering::SeqCst) {
            return Err(TokenError::cache("the remote store is away"));
        }
        Ok(())
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<TokenKey, AccessToken>> {
        self.0.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leased(&self) -> MutexGuard<'_, HashSet<TokenKey>> {
        self.0.leased.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.tokens().insert(key.clone(), token.clone());
        yield_now().await;
        Ok(())
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        self.reach().await?;
        self.tokens().remove(key);
        yield_now().await;
        Ok(())
    }

    async fn clear(&self) -> Result<(), TokenError> {
        self.reach().await?;
        self.tokens().clear();
        yield_now().await;
        Ok(())
    }
}

#[async_trait]
impl RefreshLease for RemoteStore {
    async fn acquire(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<Acquired, TokenError> {
        loop {
            self.reach().await?;
            let freed = self.0.freed.notified();
            let current = self.peek(key);
            let news = current.clone().filter(|token| previous.is_none_or(|previous| !previous.is_same(token)));
            if let Some(token) = news {
                return Ok(Acquired::Adopted(token));
            }
            if self.leased().insert(key.clone()) {
                return Ok(Acquired::Leading(Box::new(Guard {
                    store: self.clone(),
                    key: key.clone(),
                    current,
                    is_released: false,
                })));
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

    async fn publish(&mut self, token: &AccessToken) -> Result<(), TokenError> {
        self.store.set(&self.key, token).await?;
        self.release();
        Ok(())
    }

    async fn give_up(self: Box<Self>) {
        yield_now().await;
    }

    async fn discard(self: Box<Self>, refused: &AccessToken) -> Result<(), TokenError> {
        yield_now().await;
        let mut tokens = self.store.tokens();
        if tokens.get(&self.key) == Some(refused) {
            tokens.remove(&self.key);
        }
        Ok(())
    }
}

impl Guard {
    fn release(&mut self) {
        if !std::mem::replace(&mut self.is_released, true) {
            self.store.leased().remove(&self.key);
            self.store.0.freed.notify_waiters();
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.release();
    }
}
