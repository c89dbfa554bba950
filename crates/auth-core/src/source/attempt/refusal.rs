//! Refresh tokens that the identity provider permanently refused.

use std::time::SystemTime;

use super::Attempt;
use crate::{AccessToken, LeaseGuard, Secret, TokenError};

impl Attempt {
    /// Returns an expired token whose refresh token is the provider's own single-use credential, or `None` if the
    /// provider has none.
    pub(super) fn initial_credential_token(&self) -> Option<AccessToken> {
        let token = AccessToken::new(Secret::new("none")).ok()?;
        Some(
            token.with_expires_at(SystemTime::UNIX_EPOCH).with_refresh_token(self.inner.provider.initial_credential()?),
        )
    }

    /// Returns true if this source remembers that the refresh token of `token` was permanently refused.
    pub(super) fn is_refused(&self, token: &AccessToken) -> bool {
        self.inner.flights.with_slot(&self.key, |slot, _| slot.flight.is_refused(token))
    }

    /// Returns the token, without its refresh token if the refresh token was permanently refused.
    pub(super) fn without_refused_refresh_token(&self, token: &AccessToken) -> AccessToken {
        if self.is_refused(token) { token.clone().without_refresh_token() } else { token.clone() }
    }

    /// If `error` is a permanent refusal, records it for the refresh token of `previous`. Returns the error. If the
    /// response to an earlier redemption was lost, the error states that, too.
    pub(super) fn record_refusal(&self, error: TokenError, previous: Option<&AccessToken>) -> TokenError {
        if !error.is_grant_refused() {
            return error;
        }
        self.inner.flights.with_slot(&self.key, |slot, _| {
            if let Some(previous) = previous {
                slot.flight.refuse(previous);
            }
            if slot.flight.has_lost_response() { error.after_lost_response() } else { error }
        })
    }

    /// Deletes the refused refresh token from the store. An access token that is still valid is stored without it.
    pub(super) async fn delete_refused_token(&self, guard: Option<Box<dyn LeaseGuard>>, refused: &AccessToken) {
        let inner = &self.inner;
        let Some(mut guard) = guard else { return };
        // If `refused` could not be stored, the store still contains its predecessor, whose refresh token was redeemed.
        let is_predecessor = |stored_token: &&AccessToken| {
            stored_token.refresh_token().is_some() && stored_token.refresh_token() != refused.refresh_token()
        };
        let redeemed_token = guard.current().filter(is_predecessor).cloned();
        if let Some(redeemed_token) = &redeemed_token {
            inner.flights.with_slot(&self.key, |slot, _| slot.flight.refuse(redeemed_token));
        }
        let is_expired = refused.expires_at().is_none_or(|expires_at| expires_at <= inner.clock.now());
        let is_unusable = is_expired || refused.unverified().is_some() || inner.flights.is_rejected(&self.key, refused);
        if is_unusable {
            let _ = inner.health.observe(guard.discard(redeemed_token.as_ref().unwrap_or(refused)).await);
            return;
        }
        let access_token_only = refused.clone().without_refresh_token();
        if inner.health.observe(guard.publish(&access_token_only).await).is_none() {
            guard.release().await;
        }
    }
}
