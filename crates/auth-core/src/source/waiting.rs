//! Callers that wait for an attempt.

use std::time::Duration;

use tokio::sync::watch::Receiver;

use super::{Inner, Outcome};
use crate::{TokenError, TokenKey};

/// The additional time for the steps of an attempt that do not call the provider: acquiring a lease, and storing the
/// token.
const STORE_TIME: Duration = Duration::from_secs(240);

/// The progress of an attempt, which its callers observe.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The number of times that the attempt timeout ended while the provider call continued.
    pub(super) timeouts: u32,
    pub(super) outcome: Option<Outcome>,
}

impl Inner {
    /// Waits for the outcome of an attempt, or until its timeout. `started_here` is true for the caller that started
    /// the attempt.
    pub(super) async fn join_attempt(
        &self,
        attempt: Option<Receiver<Progress>>,
        key: &TokenKey,
        started_here: bool,
    ) -> Outcome {
        let Some(attempt) = attempt else { return Err(TokenError::canceled()) };
        let Some(timeout) = self.attempt_timeout else { return wait_for_outcome(attempt, Duration::ZERO).await };
        if started_here || !self.provider.needs_caller_runtime() {
            return wait_for_outcome(attempt, timeout).await;
        }
        // The attempt runs on the runtime of another caller. While that runtime is not being polled, the timers of the
        // attempt do not run, so this caller uses its own.
        let join_timeout = timeout.saturating_mul(2).saturating_add(STORE_TIME);
        if let Some(outcome) = self.within(join_timeout, wait_for_outcome(attempt.clone(), timeout)).await {
            return outcome;
        }
        self.abandon_attempt(key, &attempt);
        Err(TokenError::timed_out(join_timeout))
    }

    /// Allows the next caller to start another attempt, unless both attempts would redeem the same credential.
    fn abandon_attempt(&self, key: &TokenKey, attempt: &Receiver<Progress>) {
        if !self.provider.needs_lease() {
            self.flights.with_slot(key, |slot, _| {
                if slot.attempt.take_if(|current| current.same_channel(attempt)).is_some() {
                    slot.flight.abandon_attempt();
                }
            });
        }
    }
}

/// Waits until an attempt announces its outcome, or the end of its timeout. The timeout error contains `timeout`.
async fn wait_for_outcome(mut attempt: Receiver<Progress>, timeout: Duration) -> Outcome {
    let timeouts = attempt.borrow().timeouts;
    let wait_result = attempt.wait_for(|progress| progress.outcome.is_some() || progress.timeouts > timeouts).await;
    match wait_result {
        Ok(progress) => progress.outcome.clone().unwrap_or_else(|| Err(TokenError::timed_out(timeout))),
        Err(_) => Err(TokenError::canceled()),
    }
}
