//! The timeout of a provider call.

use std::pin::pin;
use std::time::Duration;

use super::{Attempt, Outcome};
use crate::TokenError;
use crate::source::redemption::Section;

/// The additional time for a redemption that is in progress when the attempt timeout ends.
pub(super) const REDEMPTION_GRACE: Duration = Duration::from_secs(60);

impl Attempt {
    /// Runs a provider call with the attempt timeout. If the call is redeeming a credential when the timeout ends, it
    /// may run for another [`REDEMPTION_GRACE`]. If the call cannot be canceled and has a single-use credential, it
    /// continues, and its callers get a timeout error.
    pub(super) async fn with_timeout(&self, section: &Section, call: impl Future<Output = Outcome>) -> Outcome {
        let Some(timeout) = self.inner.attempt_timeout else { return call.await };
        let provider = &self.inner.provider;
        let is_cancelable = provider.is_cancelable() || !provider.needs_lease();
        let mut call = pin!(call);
        loop {
            if let Some(outcome) = self.inner.within(timeout, call.as_mut()).await {
                return outcome;
            }
            if is_cancelable {
                break;
            }
            // The call continues, and no other attempt starts, because it would redeem the same credential.
            tracing::warn!(issuer = self.key.issuer(), "the access token provider does not respond");
            self.progress.send_modify(|progress| progress.timeouts += 1);
        }
        let extension = if section.is_critical() { REDEMPTION_GRACE } else { Duration::ZERO };
        self.inner.within(extension, call).await.unwrap_or_else(|| Err(TokenError::timed_out(timeout)))
    }
}
