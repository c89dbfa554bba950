//! Callers that wait for an attempt.

use std::time::Duration;

use tokio::sync::watch::Receiver;

use super::{Inner, Outcome};
use crate::{TokenError, TokenKey};

/// The additional time for the steps of an attempt besides its provider calls: acquiring a lease, and storing the
/// token.
const STORE_TIME: Duration = Duration::from_secs(240);

/// The progress of an attempt, for its callers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The number of times that its time limit was exceeded while its provider call continued.
    pub(super) overdue: u32,
    pub(super) outcome: Option<Outcome>,
}

impl Inner {
    /// Waits for the end of an attempt, or until its time limit is exceeded. `leads` is true for the caller that has
    /// started the attempt.
    pub(super) async fn outcome_of(&self, attempt: Option<Receiver<Progress>>, key: &TokenKey, leads: bool) -> Outcome {
        let Some(attempt) = attempt else { return Err(TokenError::aborted()) };
        let Some(limit) = self.attempt_timeout else { return announced(attempt, Duration::ZERO).await };
        if leads || !self.provider.needs_caller_runtime() {
            return announced(attempt, limit).await;
        }
        // The attempt runs on the runtime of another caller. While that runtime is idle, the attempt's own limits do
        // not apply.
        let joiner = limit.saturating_mul(2).saturating_add(STORE_TIME);
        if let Some(outcome) = self.within(joiner, announced(attempt.clone(), limit)).await {
            return outcome;
        }
        self.abandon(key, &attempt);
        Err(TokenError::timed_out(joiner))
    }

    /// Lets the next caller start another attempt, unless both would redeem the same credential.
    fn abandon(&self, key: &TokenKey, attempt: &Receiver<Progress>) {
        if !self.provider.needs_lease() {
            self.flights.with(key, |slot, _| {
                if slot.attempt.take_if(|current| current.same_channel(attempt)).is_some() {
                    slot.flight.abandon();
                }
            });
        }
    }
}

/// Waits until an attempt announces its end, or an exceeded time `limit`.
async fn announced(mut attempt: Receiver<Progress>, limit: Duration) -> Outcome {
    let overdue = attempt.borrow().overdue;
    let ended = attempt.wait_for(|progress| progress.outcome.is_some() || progress.overdue > overdue).await;
    match ended {
        Ok(progress) => progress.outcome.clone().unwrap_or_else(|| Err(TokenError::timed_out(limit))),
        Err(_) => Err(TokenError::aborted()),
    }
}
