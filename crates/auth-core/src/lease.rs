//! Leases, which limit the processes that share a store to one refresh at a time.

use std::fmt;

use async_trait::async_trait;

use crate::{AccessToken, TokenError, TokenKey};

/// A lease, which extends the single flight of a token source to other processes through a shared store, such as a lock
/// file or Redis. Without a lease, each process refreshes the token itself.
///
/// The suites `platform_testkit::refresh_lease` and `platform_testkit::LeaseSuite` check an implementation.
#[async_trait]
pub trait RefreshLease: fmt::Debug + Send + Sync {
    /// Waits until this process may obtain a token for `key`, or until another process has stored a token other than
    /// `previous`, and then returns that token. A store that has a clock never returns an expired token. The store
    /// determines the timeout of the wait.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the store is unavailable, or the wait timed out. The caller then obtains a token
    /// without the lease, unless its provider [needs it](crate::AsyncTokenProvider::needs_lease).
    async fn acquire(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError>;
}

const _: Option<&dyn RefreshLease> = None;

/// The result of acquiring a lease.
#[derive(Debug)]
#[non_exhaustive]
pub enum LeaseOutcome {
    /// This process must obtain the token.
    Acquired(Box<dyn LeaseGuard>),
    /// Another process has obtained this token.
    AlreadyRefreshed(AccessToken),
}

/// The exclusive right, among all processes that share a store, to obtain a token. Dropping the guard releases the
/// lease. If the store is unavailable at that moment, the lease expires later.
///
/// A guard renews its lease while it exists, because a refresh may take longer than the lease: it may fetch the
/// issuer's signing keys, redeem the refresh token, fetch the keys again, and wait for an unavailable store.
#[async_trait]
pub trait LeaseGuard: fmt::Debug + Send + Sync {
    /// Returns the token that was stored when the lease was acquired. It replaces the caller's previous token.
    ///
    /// Another process may have refreshed the token, and the new token may have expired since. In that case, redeem the
    /// refresh token of the stored token, because the other process has already redeemed that of the caller's token.
    ///
    /// Returns `None` if no token was stored, or if the store does not read the token when it grants the lease.
    fn current(&self) -> Option<&AccessToken> {
        None
    }

    /// Returns true if the user has logged out: the store had no token when the lease was acquired, and it never loses
    /// tokens. The caller must then not refresh the token that it still has in memory. A store that may lose tokens
    /// returns false.
    fn is_logged_out(&self) -> bool {
        false
    }

    /// Returns true if the refresh token of `token` was permanently refused, and a process recorded this with
    /// [`discard`](Self::discard). Do not send it again.
    fn is_refused(&self, token: &AccessToken) -> bool {
        let _ = token;
        false
    }

    /// Stores the token for the other processes, and releases the lease.
    ///
    /// An entry that another process stored after this lease was granted is not overwritten, even if the lease has
    /// expired. The only exception is the record of a refused refresh token that belongs to [`current`](Self::current)
    /// or, without a current token, to the `previous` token passed to [`acquire`](RefreshLease::acquire).
    ///
    /// After an error the guard still holds the lease, and the call can be repeated.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the store is unavailable. The token itself can be used.
    async fn publish(&mut self, token: &AccessToken) -> Result<(), TokenError>;

    /// Releases the lease without storing a token, so that another process can acquire the lease.
    async fn release(self: Box<Self>);

    /// Records that the refresh token of `refused` was permanently refused, deletes the stored token if it is still
    /// `refused`, and releases the lease.
    ///
    /// The default implementation only releases the lease.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the store is unavailable, and may still hold the entry.
    async fn discard(self: Box<Self>, refused: &AccessToken) -> Result<(), TokenError> {
        let _ = refused;
        self.release().await;
        Ok(())
    }
}

const _: Option<&dyn LeaseGuard> = None;
