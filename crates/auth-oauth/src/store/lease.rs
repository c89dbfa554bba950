//! The lease of the file store. It is the lock of an entry, which the kernel releases when the process ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use auth_core::{AccessToken, Clock, LeaseGuard, LeaseOutcome, RefreshLease, TokenError, TokenKey};

use super::FileTokenStore;
use super::entry::{Entry, ReservedSpace};
use super::envelope::{Login, Record, Tombstone};
use super::error::StoreError;
use super::lock::{Lock, run_blocking};
use crate::identity::fingerprint;

/// The locks that the leases of this process hold.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<TokenKey, Weak<Lock>>>);

/// The guard of a lease, which holds the lock of the entry.
#[derive(Debug)]
struct FileLeaseGuard {
    entry: Entry,
    key: TokenKey,
    clock: Arc<dyn Clock>,
    /// The token that was stored when the lease was acquired.
    current: Option<AccessToken>,
    /// The digest of the refused refresh token, if the store has a tombstone.
    refused_digest: Option<String>,
    /// The lock, or `None` after a token was published.
    lock: Option<Arc<Lock>>,
    /// The reserved space, which also holds the lock, or `None` after an attempt to publish.
    space: Option<ReservedSpace>,
}

/// The role of this process after it has acquired the lock.
#[derive(Debug)]
enum Role {
    /// This process must obtain a token.
    Leader(Box<FileLeaseGuard>),
    /// Another process has stored this token.
    Follower(AccessToken),
}

impl Leases {
    /// Returns a closure that obtains the lock of `entry`. If a lease of this process for `key` holds the lock, the
    /// closure shares it. Otherwise, it tries to acquire the lock.
    pub(super) fn shared_or_new_lock(
        self: &Arc<Self>,
        key: &TokenKey,
        entry: &Entry,
    ) -> impl Fn() -> Result<Option<Arc<Lock>>, StoreError> + Clone + Send + 'static {
        let (leases, key, entry) = (self.clone(), key.clone(), entry.clone());
        move || match leases.lock_of(&key) {
            Some(lock) => Ok(Some(lock)),
            None => Ok(entry.try_lock()?.map(Arc::new)),
        }
    }

    /// Returns the lock that a lease of this process for `key` holds.
    fn lock_of(&self, key: &TokenKey) -> Option<Arc<Lock>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key)?.upgrade()
    }

    /// Registers the lock of a lease of this process.
    fn register(&self, key: &TokenKey, lock: &Arc<Lock>) {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leases.retain(|_, lock| lock.strong_count() > 0);
        leases.insert(key.clone(), Arc::downgrade(lock));
    }
}

#[async_trait]
impl RefreshLease for FileTokenStore {
    async fn acquire(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        Ok(match self.acquire_role(key, previous).await? {
            Role::Leader(guard) => LeaseOutcome::Acquired(guard),
            Role::Follower(token) => LeaseOutcome::AlreadyRefreshed(token),
        })
    }
}

impl FileTokenStore {
    /// Acquires the lock, and determines the role of this process.
    async fn acquire_role(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<Role, StoreError> {
        let entry = self.folder.entry(key);
        let lock = Arc::new(self.lock(&entry).await?);
        let record = run_blocking({
            let (entry, key, lock) = (entry.clone(), key.clone(), lock.clone());
            move || entry.load(&key, &lock)
        });
        let (login, refused_digest) = match record.await? {
            Some(Record::Login(login)) => (Some(login), None),
            Some(Record::Refused(tombstone)) => (None, Some(tombstone.digest)),
            None => (None, None),
        };
        let is_new =
            |login: &&Login| !login.rejected && !previous.is_some_and(|previous| previous.is_same(&login.token));
        if let Some(login) = login.as_ref().filter(is_new).filter(|login| is_usable(&login.token, &*self.clock)) {
            return Ok(Role::Follower(login.token.clone()));
        }
        let space = run_blocking({
            let (entry, key, lock) = (entry.clone(), key.clone(), lock.clone());
            move || entry.reserve(&key, &lock)
        });
        let space = space.await?;
        self.leases.register(key, &lock);
        let (clock, current) = (self.clock.clone(), login.map(|login| login.token));
        Ok(Role::Leader(Box::new(FileLeaseGuard {
            entry,
            key: key.clone(),
            clock,
            current,
            refused_digest,
            lock: Some(lock),
            space: Some(space),
        })))
    }
}

/// Returns true if a token is neither expired nor due for a refresh.
fn is_usable(token: &AccessToken, clock: &dyn Clock) -> bool {
    let now = clock.now();
    token.not_before().is_none_or(|not_before| not_before <= now)
        && [token.expires_at(), token.refresh_at()].into_iter().flatten().all(|time| time > now)
}

#[async_trait]
impl LeaseGuard for FileLeaseGuard {
    fn current(&self) -> Option<&AccessToken> {
        self.current.as_ref()
    }

    fn is_logged_out(&self) -> bool {
        self.current.is_none()
    }

    fn is_refused(&self, token: &AccessToken) -> bool {
        let digest = token.refresh_token().map(fingerprint);
        digest.is_some() && digest == self.refused_digest
    }

    async fn publish(&mut self, token: &AccessToken) -> Result<(), TokenError> {
        let Some(lock) = self.lock.take() else { return Err(TokenError::cache("the lease has ended")) };
        let (entry, key, token, space) = (self.entry.clone(), self.key.clone(), token.clone(), self.space.take());
        let current = self.current.clone();
        let store_token = move || {
            let outcome = entry.ensure_unchanged(&key, &lock, current.as_ref()).and_then(|()| match space {
                Some(space) => entry.commit(&key, &token, space),
                // An earlier call failed and released the reserved space.
                None => entry.save(&key, &token, &lock),
            });
            // On success, the lock is dropped here. After a failure, it is returned, so that the caller can publish
            // again.
            Ok(outcome.err().map(|error| (error, lock)))
        };
        match run_blocking(store_token).await? {
            None => Ok(()),
            Some((error, lock)) => {
                self.lock = Some(lock);
                Err(error.into())
            }
        }
    }

    async fn release(self: Box<Self>) {
        // Dropping the guard deletes the file with the reserved space, which may block.
        let _ = run_blocking(move || Ok(drop(self))).await;
    }

    async fn discard(self: Box<Self>, refused: &AccessToken) -> Result<(), TokenError> {
        let refused = refused.clone();
        let Some(lock) = self.lock.clone() else { return Ok(()) };
        let tombstone = refused.refresh_token().map(|token| Tombstone::new(token, self.clock.now()));
        let discard = move || match self.space.map_or_else(|| self.entry.reserve(&self.key, &lock), Ok) {
            Ok(space) => self.entry.replace_by_tombstone(&self.key, &refused, tombstone, space),
            Err(error) => self.entry.delete_refused(&self.key, &refused, &lock).and(Err(error)),
        };
        Ok(run_blocking(discard).await?)
    }
}

#[cfg(test)]
mod tests;
