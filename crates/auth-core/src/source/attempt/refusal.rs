//! Refresh tokens that the identity provider permanently refused.

use std::time::SystemTime;

use super::Attempt;
use crate::{AccessToken, LeaseGuard, Secret, TokenError};

impl Attempt {
    /// Returns the provider's single-use credential, if it has one, as the refresh token of an expired token.
    pub(super) fn initial(&self) -> Option<AccessToken> {
        let token = AccessToken::new(Secret::new("none")).ok()?;
        Some(
            token.with_expires_at(SystemTime::UNIX_EPOCH).with_refresh_token(self.inner.provider.initial_credential()?),
        )
    }

    /// Returns true if this process knows that the refresh token of `token` was permanently refused.
    pub(super) fn is_refused(&self, token: &AccessToken) -> bool {
        self.inner.flights.with(&self.key, |slot, _| slot.flight.is_refused(token))
    }

    /// Removes a permanently refused refresh token.
    pub(super) fn without_refused(&self, token: &AccessToken) -> AccessToken {
        if self.is_refused(token) { token.clone().without_refresh_token() } else { token.clone() }
    }

    /// Records a permanent refusal of the refresh token of `previous`. If the response to an earlier redemption was
    /// lost, the returned error states this.
    pub(super) fn with_history(&self, error: TokenError, previous: Option<&AccessToken>) -> TokenError {
        if !error.is_grant_refused() {
            return error;
        }
        self.inner.flights.with(&self.key, |slot, _| {
            if let Some(previous) = previous {
                slot.flight.refuse(previous);
            }
            if slot.flight.has_lost_answer() { error.after_loss() } else { error }
        })
    }

    /// Deletes the refused refresh token for all processes. An access token that is still valid is kept.
    pub(super) async fn forget_refused(&self, guard: Option<Box<dyn LeaseGuard>>, refused: &AccessToken) {
        let inner = &self.inner;
        let Some(mut guard) = guard else { return };
        // The stored token may be the predecessor of a token that could not be stored. Its refresh token is then spent.
        let is_stored = |stored: &AccessToken| stored.refresh_token() == refused.refresh_token();
        let spent = guard.current().filter(|stored| stored.refresh_token().is_some() && !is_stored(stored)).cloned();
        if let Some(spent) = &spent {
            inner.flights.with(&self.key, |slot, _| slot.flight.refuse(spent));
        }
        let is_expired = refused.expires_at().is_none_or(|end| end <= inner.clock.now());
        let is_useless = is_expired || refused.unverified().is_some() || inner.flights.is_rejected(&self.key, refused);
        if is_useless {
            let _ = inner.health.observe(guard.discard(spent.as_ref().unwrap_or(refused)).await);
            return;
        }
        let rest = refused.clone().without_refresh_token();
        if inner.health.observe(guard.publish(&rest).await).is_none() {
            guard.give_up().await;
        }
    }
}
