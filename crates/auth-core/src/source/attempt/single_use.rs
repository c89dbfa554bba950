//! Single-use credentials. Only one attempt at a time may present a credential, and none after it was redeemed.

use tokio::sync::OwnedMutexGuard;

use super::limit::REDEMPTION_GRACE;
use super::{Attempt, AttemptOutput};
use crate::source::configured::Reservation;
use crate::source::redemption::Section;
use crate::{AccessToken, TokenError};

impl Attempt {
    /// Obtains a token. First waits for an earlier attempt that may still redeem a single-use credential of the key.
    /// Such an attempt can exist after the source was cleared.
    pub(super) async fn obtain_exclusively(&self, section: &Section) -> AttemptOutput {
        match self.lock_redemption().await {
            Ok(_guard) => self.obtain(section).await,
            Err(error) => Err(error).into(),
        }
    }

    /// Acquires the redemption lock of the key, or returns `None` if the provider has no single-use credential.
    async fn lock_redemption(&self) -> Result<Option<OwnedMutexGuard<()>>, TokenError> {
        if !self.inner.provider.needs_lease() {
            return Ok(None);
        }
        let redemption_lock = self.inner.flights.with_slot(&self.key, |slot, _| slot.redemption_lock.clone());
        self.wait_for_attempt(redemption_lock.lock_owned()).await.map(Some)
    }

    /// Reserves the provider's own credential for this attempt, so that no other source of the process presents it.
    ///
    /// # Errors
    ///
    /// The credential was redeemed and replaced, or another attempt that has reserved it does not end in time.
    pub(super) async fn reserve_initial_credential(
        &self,
        initial_token: &AccessToken,
    ) -> Result<Reservation, TokenError> {
        let reservation = Reservation::new(self.key.issuer(), initial_token.refresh_token());
        self.wait_for_attempt(reservation.reserve()).await?
    }

    /// Records that the refresh token of `presented_token` can no longer be redeemed, if `token` has a different one.
    pub(super) fn record_redemption(
        &self,
        reservation: Option<Reservation>,
        presented_token: Option<&AccessToken>,
        token: &AccessToken,
    ) {
        let Some(presented_token) = presented_token.filter(|presented_token| {
            presented_token.refresh_token().is_some() && presented_token.refresh_token() != token.refresh_token()
        }) else {
            return;
        };
        if let Some(reservation) = reservation {
            reservation.mark_redeemed();
        }
        if self.is_source_cleared() {
            // If clearing the cache failed, the cache may still contain the redeemed refresh token.
            self.inner.flights.with_slot(&self.key, |slot, _| slot.flight.refuse(presented_token));
        }
    }

    /// Waits for another attempt, for at most the maximum duration of an attempt.
    async fn wait_for_attempt<T>(&self, wait: impl Future<Output = T>) -> Result<T, TokenError> {
        match self.inner.attempt_timeout {
            None => Ok(wait.await),
            Some(timeout) => {
                self.inner.within(timeout + REDEMPTION_GRACE, wait).await.ok_or_else(|| TokenError::timed_out(timeout))
            }
        }
    }
}
