//! Single-use credentials: one attempt at a time holds a credential, and no other presents it after it is used up.

use tokio::sync::OwnedMutexGuard;

use super::limit::REDEMPTION_GRACE;
use super::{Attempt, Obtained};
use crate::source::configured::Turn;
use crate::source::redemption::Section;
use crate::{AccessToken, TokenError};

impl Attempt {
    /// Obtains a token. After a clear, waits for an earlier attempt that may still be redeeming.
    pub(super) async fn obtain_in_turn(&self, section: &Section) -> Obtained {
        match self.turn().await {
            Ok(_turn) => self.obtain(section).await,
            Err(error) => Err(error).into(),
        }
    }

    /// Waits for an earlier attempt that may hold the single-use credential of the key, if the provider has one.
    async fn turn(&self) -> Result<Option<OwnedMutexGuard<()>>, TokenError> {
        if !self.inner.provider.needs_lease() {
            return Ok(None);
        }
        let redeeming = self.inner.flights.with(&self.key, |slot, _| slot.redeeming.clone());
        self.bounded(redeeming.lock_owned()).await.map(Some)
    }

    /// Reserves the provider's own credential for this attempt, among all sources of the process.
    ///
    /// # Errors
    ///
    /// It is used up, or another attempt does not end.
    pub(super) async fn first_use(&self, initial: &AccessToken) -> Result<Turn, TokenError> {
        let turn = Turn::new(self.key.issuer(), initial.refresh_token());
        self.bounded(turn.reserve()).await?
    }

    /// Records that `presented` was redeemed, and was replaced if `token` has another refresh token.
    pub(super) fn record_use(&self, turn: Option<Turn>, presented: Option<&AccessToken>, token: &AccessToken) {
        let Some(presented) = presented.filter(|presented| {
            presented.refresh_token().is_some() && presented.refresh_token() != token.refresh_token()
        }) else {
            return;
        };
        if let Some(turn) = turn {
            turn.use_up();
        }
        if self.is_cleared() {
            // The cache may still have it, if it could not be cleared.
            self.inner.flights.with(&self.key, |slot, _| slot.flight.refuse(presented));
        }
    }

    /// Waits for another attempt, for the longest time that it may take.
    async fn bounded<T>(&self, wait: impl Future<Output = T>) -> Result<T, TokenError> {
        match self.inner.attempt_timeout {
            None => Ok(wait.await),
            Some(limit) => {
                self.inner.within(limit + REDEMPTION_GRACE, wait).await.ok_or_else(|| TokenError::timed_out(limit))
            }
        }
    }
}
