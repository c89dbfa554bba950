use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use auth_core::{AccessToken, Acquired, Clock, LeaseGuard, RefreshLease, TokenError, TokenKey};

use super::FileTokenStore;
use super::entry::Entry;
use super::envelope::Kept;
use super::error::StoreError;
use super::lock::{Lock, off_worker};

/// The locks that leases of this process have.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<TokenKey, Weak<Lock>>>);

/// The right to renew one token, while it has the lock.
#[derive(Debug)]
struct Guard {
    entry: Entry,
    key: TokenKey,
    /// `None` once a token is published.
    lock: Option<Arc<Lock>>,
    current: Option<AccessToken>,
}

impl Leases {
    /// An attempt to take the lock of `entry`, or to share that of a lease which has it.
    pub(super) fn join(
        self: &Arc<Self>,
        key: &TokenKey,
        entry: &Entry,
    ) -> impl Fn() -> Result<Option<Arc<Lock>>, StoreError> + Clone + Send + 'static {
        let (leases, key, entry) = (self.clone(), key.clone(), entry.clone());
        move || match leases.of(&key) {
            Some(lock) => Ok(Some(lock)),
            None => Ok(Lock::attempt(&entry)?.map(Arc::new)),
        }
    }

    fn of(&self, key: &TokenKey) -> Option<Arc<Lock>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key)?.upgrade()
    }

    /// Whether any lease has its lock.
    pub(super) fn are_held(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().any(|lock| lock.strong_count() > 0)
    }

    fn begin(&self, key: &TokenKey, lock: &Arc<Lock>) {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leases.retain(|_, lock| lock.strong_count() > 0);
        leases.insert(key.clone(), Arc::downgrade(lock));
    }
}

#[async_trait]
impl RefreshLease for FileTokenStore {
    async fn acquire(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<Acquired, TokenError> {
        let entry = self.folder.entry(key);
        let lock = Arc::new(self.lock(&entry).await?);
        let current = off_worker({
            let (entry, key, lock) = (entry.clone(), key.clone(), lock.clone());
            move || entry.load(&key, &lock)
        });
        let current = current.await?;
        let is_news = |kept: &&Kept| !kept.rejected && !previous.is_some_and(|known| known.is_same(&kept.token));
        if let Some(kept) = current.as_ref().filter(is_news).filter(|kept| is_usable(&kept.token, &*self.clock)) {
            return Ok(Acquired::Adopted(kept.token.clone()));
        }
        self.leases.begin(key, &lock);
        let current = current.map(|kept| kept.token);
        Ok(Acquired::Leading(Box::new(Guard { entry, key: key.clone(), lock: Some(lock), current })))
    }
}

/// Whether a token need not be renewed yet.
fn is_usable(token: &AccessToken, clock: &dyn Clock) -> bool {
    let now = clock.now();
    [token.expires_at(), token.refresh_at()].into_iter().flatten().all(|moment| moment > now)
}

#[async_trait]
impl LeaseGuard for Guard {
    fn current(&self) -> Option<&AccessToken> {
        self.current.as_ref()
    }

    async fn publish(&mut self, token: &AccessToken) -> Result<(), TokenError> {
        let Some(lock) = self.lock.clone() else { return Ok(()) };
        let (entry, key, token) = (self.entry.clone(), self.key.clone(), token.clone());
        off_worker(move || entry.save(&key, &token, &lock)).await?;
        self.lock = None;
        Ok(())
    }

    async fn give_up(self: Box<Self>) {}

    async fn discard(self: Box<Self>, refused: &AccessToken) -> Result<(), TokenError> {
        let refused = refused.clone();
        let is_refused =
            move |kept: &AccessToken| kept.is_same(&refused) && kept.refresh_token() == refused.refresh_token();
        let Some(lock) = self.lock.clone() else { return Ok(()) };
        off_worker(move || self.entry.remove_if(&self.key, &lock, is_refused)).await?;
        Ok(())
    }
}
