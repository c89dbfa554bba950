//! Leases: one refresh at a time among processes that share a store.

use std::fmt;

use async_trait::async_trait;

use crate::{AccessToken, TokenError, TokenKey};

/// A lease that extends single flight to other processes through a shared store, such as a lock file or Redis. Without
/// a lease, each process refreshes for itself.
///
/// The suites `platform_testkit::refresh_lease` and `platform_testkit::LeaseSuite` check an implementation.
#[async_trait]
pub trait RefreshLease: fmt::Debug + Send + Sync {
    /// Waits until this process may obtain a token for `key`, or until another process has stored a token other than
    /// `previous`. That token is then adopted. A store with a clock does not adopt an expired token. The store limits
    /// the wait.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the store is unavailable, or the wait timed out. The caller then obtains a token for
    /// itself, unless its provider [needs the lease](crate::AsyncTokenProvider::needs_lease).
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

/// The exclusive right to obtain a token for all processes that share a store. Dropping the guard releases the lease;
/// if the store is unavailable then, the lease expires.
///
/// A guard renews its lease while it exists, because a refresh can last long: it may fetch keys, redeem, fetch keys
/// again, and wait for an unavailable store.
#[async_trait]
pub trait LeaseGuard: fmt::Debug + Send + Sync {
    /// Returns the token that was stored when the lease was acquired. It replaces the caller's previous token.
    ///
    /// Another process may have refreshed the token, and the new one may have expired since. Then the caller's refresh
    /// token is spent, and the stored one is not. A store that does not know the stored token returns `None`.
    fn current(&self) -> Option<&AccessToken> {
        None
    }

    /// Returns true if the store had no entry when the lease was acquired, and never loses entries: the login was
    /// ended. A token in the memory of a process is then not refreshed. A store that may lose entries returns false.
    fn knows_absence(&self) -> bool {
        false
    }

    /// Returns true if the provider has permanently refused the refresh token of `token`, as recorded by another
    /// process with [`discard`](Self::discard). It is then not sent again.
    fn is_refused(&self, token: &AccessToken) -> bool {
        let _ = token;
        false
    }

    /// Stores the token for the other processes, and releases the lease.
    ///
    /// A token that another process stored later is not overwritten. A record of a refused refresh token is overwritten
    /// if that refresh token belongs to [`current`](Self::current) or to the `previous` token passed to
    /// [`acquire`](RefreshLease::acquire). Both rules also apply after the lease has expired.
    ///
    /// After an error the lease is still held, and the call can be repeated.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the store is unavailable; the token itself is valid.
    async fn publish(&mut self, token: &AccessToken) -> Result<(), TokenError>;

    /// Releases the lease without storing a token, so that another process can acquire it.
    async fn give_up(self: Box<Self>);

    /// Records that the refresh token of `refused` was permanently refused, deletes the entry if it has not changed,
    /// and releases the lease.
    ///
    /// The default implementation deletes nothing.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the store is unavailable, and may still hold the entry.
    async fn discard(self: Box<Self>, refused: &AccessToken) -> Result<(), TokenError> {
        let _ = refused;
        self.give_up().await;
        Ok(())
    }
}

const _: Option<&dyn LeaseGuard> = None;
