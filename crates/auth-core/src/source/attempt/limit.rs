//! The time limit of a provider call.

use std::pin::pin;
use std::time::Duration;

use super::{Attempt, Outcome};
use crate::TokenError;
use crate::source::redemption::Section;

/// The additional time for a redemption in progress at the attempt timeout.
pub(super) const REDEMPTION_GRACE: Duration = Duration::from_secs(60);

impl Attempt {
    /// Limits a provider call. A redemption in progress gets more time.
    pub(super) async fn in_time(&self, section: &Section, call: impl Future<Output = Outcome>) -> Outcome {
        let Some(limit) = self.inner.attempt_timeout else { return call.await };
        let provider = &self.inner.provider;
        let is_cancelable = provider.is_cancelable() || !provider.needs_lease();
        let mut call = pin!(call);
        loop {
            if let Some(outcome) = self.inner.within(limit, call.as_mut()).await {
                return outcome;
            }
            if is_cancelable {
                break;
            }
            // The call continues and holds the credential that another attempt would redeem.
            tracing::warn!(issuer = self.key.issuer(), "the access token provider does not respond");
            self.announce.send_modify(|progress| progress.overdue += 1);
        }
        let more = if section.is_critical() { REDEMPTION_GRACE } else { Duration::ZERO };
        self.inner.within(more, call).await.unwrap_or_else(|| Err(TokenError::timed_out(limit)))
    }
}
