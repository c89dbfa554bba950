//! Tokens that were obtained and could not be stored yet.

use std::sync::{Mutex as StdMutex, PoisonError};

use tokio::sync::{Mutex, MutexGuard};

use crate::{AccessToken, LeaseGuard};

/// A token that could not be stored. While it exists, it is served, the next attempt redeems it, and its lease is held,
/// so that no other process redeems the token that it replaced.
#[derive(Debug)]
pub(crate) struct Unpublished {
    token: StdMutex<AccessToken>,
    /// Locked while the token is stored, or replaced by an attempt.
    lease: Mutex<Held>,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) guard: Option<Box<dyn LeaseGuard>>,
    /// The token was stored or discarded.
    pub(super) is_done: bool,
}

impl Unpublished {
    pub(super) fn new(token: AccessToken, guard: Option<Box<dyn LeaseGuard>>) -> Self {
        Self { token: StdMutex::new(token), lease: Mutex::new(Held { guard, is_done: false }) }
    }

    pub(crate) fn token(&self) -> AccessToken {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace(&self, token: AccessToken) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Prevents the publication from storing the token while an attempt replaces it.
    pub(super) async fn lock(&self) -> MutexGuard<'_, Held> {
        self.lease.lock().await
    }

    /// Locks the token, unless an attempt replaces it or it is being stored.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, Held>> {
        self.lease.try_lock().ok()
    }
}
