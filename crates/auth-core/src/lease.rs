//! One refresh at a time among processes that share a store.

use std::fmt;

use async_trait::async_trait;

use crate::{AccessToken, TokenError, TokenKey};

/// Extends single flight to other processes, through what they share: a lock file, Redis. A cache
/// without one works too; then each process refreshes for itself.
///
/// The suites `platform_testkit::refresh_lease` and `platform_testkit::LeaseSuite` check an implementation.
#[async_trait]
pub trait RefreshLease: fmt::Debug + Send + Sync {
    /// Waits until this process may obtain a token for `key`, or another has: then that token, which
    /// is not `previous`, is adopted. A store that knows the time adopts none that has ended. How long
    /// it waits is bounded, and the business of the store.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the store is away, or the wait took too long. The caller then
    /// obtains a token for itself, unless its provider
    /// [needs the lease](crate::AsyncTokenProvider::needs_lease).
    async fn acquire(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<Acquired, TokenError>;
}

const _: Option<&dyn RefreshLease> = None;

/// What became of the wish to obtain a token.
#[derive(Debug)]
pub enum Acquired {
    /// It is on this process.
    Leading(Box<dyn LeaseGuard>),
    /// Another process has obtained this token meanwhile.
    Adopted(AccessToken),
}

/// The exclusive right to obtain a token for all processes that share a store. Dropping it releases the lease, at the
/// latest when the lease expires.
///
/// A guard renews its lease for as long as it exists: a renewal may fetch keys, redeem, fetch keys again and wait for a
/// store that is unavailable.
#[async_trait]
pub trait LeaseGuard: fmt::Debug + Send + Sync {
    /// Returns the token that was stored when the lease was acquired. It replaces the one that the caller knew.
    ///
    /// Another process may have obtained a token since that has expired again: then the refresh token that the caller
    /// knows is spent, and the stored one is not. A store that cannot tell returns `None`.
    fn current(&self) -> Option<&AccessToken> {
        None
    }

    /// Returns true if the store has no entry and is known never to lose one, so that the login was ended. A token that a
    /// process remembers is then not renewed. A store that may lose entries returns false.
    fn knows_absence(&self) -> bool {
        false
    }

    /// Returns true if the provider has refused the refresh token of `token` permanently, as another process recorded by
    /// [`discard`](Self::discard). It is then not sent again.
    fn is_refused(&self, token: &AccessToken) -> bool {
        let _ = token;
        false
    }

    /// Stores the token where the other processes find it, and releases the lease. A token that another process stored
    /// later is not overwritten. The record of a refused refresh token is replaced if it is that of
    /// [`current`](Self::current), or of the previous token that the lease was acquired with, even if the lease has expired.
    ///
    /// After an error the lease is still held, and the call can be repeated.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the store is unavailable; the token itself is valid.
    async fn publish(&mut self, token: &AccessToken) -> Result<(), TokenError>;

    /// Releases the lease without a token, so that another process can try.
    async fn give_up(self: Box<Self>);

    /// Records that the refresh token of `refused` was refused permanently, deletes the entry if it is still exactly that
    /// one, and releases the lease.
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
