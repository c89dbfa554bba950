//! Tokens that were obtained but could not be stored yet.

use std::sync::{Mutex as StdMutex, PoisonError};

use tokio::sync::{Mutex, MutexGuard};

use crate::{AccessToken, LeaseGuard};

/// A token that could not be stored yet. Until it is stored, it is served from memory, and the next attempt redeems its
/// refresh token. Its lease is held, so that no other process redeems the older refresh token in the store.
#[derive(Debug)]
pub(crate) struct UnpublishedToken {
    token: StdMutex<AccessToken>,
    /// The lock is held while the token is being stored, and while an attempt replaces it.
    lease: Mutex<HeldLease>,
}

#[derive(Debug)]
pub(super) struct HeldLease {
    pub(super) guard: Option<Box<dyn LeaseGuard>>,
    /// True once the token was stored or discarded.
    pub(super) is_settled: bool,
}

impl UnpublishedToken {
    pub(super) fn new(token: AccessToken, guard: Option<Box<dyn LeaseGuard>>) -> Self {
        Self { token: StdMutex::new(token), lease: Mutex::new(HeldLease { guard, is_settled: false }) }
    }

    pub(crate) fn token(&self) -> AccessToken {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace(&self, token: AccessToken) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Locks the token, so that it is not stored while an attempt replaces it.
    pub(super) async fn lock(&self) -> MutexGuard<'_, HeldLease> {
        self.lease.lock().await
    }

    /// Locks the token. Returns `None` if it is being stored, or an attempt is replacing it.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, HeldLease>> {
        self.lease.try_lock().ok()
    }
}
