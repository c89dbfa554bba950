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
    /// `previous`. In the second case the outcome is that token. A store that knows the time never returns an expired
    /// one. The wait has a timeout, set by the store.
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

/// The exclusive right, among all processes that share a store, to obtain a token. Dropping the guard releases the
/// lease; if the store is unavailable at that moment, the lease expires later by itself.
///
/// A guard renews its lease while it exists, because a refresh can last long: it may fetch the issuer's signing
/// keys, redeem the refresh token, fetch the keys again, and wait for an unavailable store.
#[async_trait]
pub trait LeaseGuard: fmt::Debug + Send + Sync {
    /// Returns the token that was stored when the lease was acquired. It replaces the caller's previous token.
    ///
    /// Another process may have refreshed the token, and the new one may have expired since. In that case, use the
    /// refresh token of the stored token: the caller's is spent. A store that cannot read the stored token here returns
    /// `None`.
    fn current(&self) -> Option<&AccessToken> {
        None
    }

    /// Returns true if a missing token proves a logout: the store had none when the lease was acquired, and it never
    /// loses tokens. A process must then not refresh a token that it still has in memory. A store that may lose tokens
    /// returns false.
    fn login_was_ended(&self) -> bool {
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
    /// An entry that another process stored later is not overwritten, unless it is the record of a refused refresh
    /// token, and that refresh token belongs to [`current`](Self::current) or, without a current token, to the
    /// `previous` token passed to [`acquire`](RefreshLease::acquire). This also applies after the lease has expired.
    ///
    /// After an error the lease is still held, and the call can be repeated.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the store is unavailable; the token itself is valid.
    async fn publish(&mut self, token: &AccessToken) -> Result<(), TokenError>;

    /// Releases the lease without storing a token, so that another process can acquire it.
    async fn give_up(self: Box<Self>);

    /// Records that the refresh token of `refused` was permanently refused, deletes the entry if it is still `refused`,
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
