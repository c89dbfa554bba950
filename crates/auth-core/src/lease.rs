//! One refresh at a time among processes that share a store.

use std::fmt;

use async_trait::async_trait;

use crate::{AccessToken, TokenError, TokenKey};

/// Extends single flight to other processes, through what they share: a lock file, Redis. A cache
/// without one works too; then each process refreshes for itself.
///
/// The suite `platform_testkit::refresh_lease` checks an implementation.
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

/// The right, and the duty, to obtain a token for all. Dropping it gives up, at the latest when the
/// lease ends by itself.
#[async_trait]
pub trait LeaseGuard: fmt::Debug + Send + Sync {
    /// What was stored when the lease was acquired; it takes the place of what the caller knew.
    ///
    /// Another process may have obtained a token that has ended again since: then the refresh token
    /// which the caller knows is spent, and the one that came with this token is not. A store that
    /// cannot say what it had says nothing.
    fn current(&self) -> Option<&AccessToken> {
        None
    }

    /// Stores the token where the others find it, and lets them go on. A token that another has
    /// stored later is not overwritten.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the store is away; the token is good all the same.
    async fn publish(self: Box<Self>, token: &AccessToken) -> Result<(), TokenError>;

    /// Lets another process try: none was obtained.
    async fn give_up(self: Box<Self>);

    /// The credential that came with `refused` was refused for good: forgets it, if it is still
    /// exactly what is stored, and lets another process try.
    ///
    /// A store that does not override it forgets nothing.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the store is away, and may still have it.
    async fn discard(self: Box<Self>, refused: &AccessToken) -> Result<(), TokenError> {
        let _ = refused;
        self.give_up().await;
        Ok(())
    }
}

const _: Option<&dyn LeaseGuard> = None;
