//! Requests that no generated operation covers. Deadlines, retries and tokens are the same as for other calls.

use auth_core::AccessToken;
use auth_http::retry::Attempts;
use auth_http::{HttpError, Request};
use platform_api::ApiError;

use super::Core;
use super::retry::CallTime;
use crate::critical::{Creation, PendingCreation};
use crate::effect::Effect;
use crate::error::Error;
use crate::raw_response::RawResponse;

/// The name of the operation in error messages.
const OPERATION_NAME: &str = "request";

/// A response with a status that permits a retry.
#[derive(Debug, thiserror::Error)]
#[error("the platform responded with {0}")]
struct TransientResponse(u16);

impl Core {
    /// Sends a request, and returns the response with any status.
    pub(crate) async fn raw(&self, request: impl Fn() -> Request, effect: Effect) -> Result<RawResponse, Error> {
        let time = CallTime::starting_now(&self.mode);
        let mut token = self.token(time).await?;
        let mut may_refresh = true;
        let mut attempts =
            self.inner.unauthenticated.attempts(&self.inner.root, &self.retry_policy(&self.inner.settings.run));
        let mut last_outcome = None;
        loop {
            if let Err(error) = wait_for_turn(&mut attempts, time).await {
                return last_outcome.unwrap_or_else(|| Err(error.into()));
            }
            let outcome = self.send_raw(&token, request(), effect, time).await?;
            let is_retry_permitted = match &outcome {
                Ok(response) if response.status() == 401 && may_refresh => {
                    attempts.record_response();
                    may_refresh = false;
                    match self.token(time).await {
                        Ok(refreshed) => token = refreshed,
                        // The refresh failed temporarily: the login was not rejected.
                        Err(token_error) if token_error.is_transient() => return Err(token_error),
                        Err(_) => return outcome.map_err(|error| Error::raw(error, effect)),
                    }
                    continue;
                }
                Ok(response) if response.is_transient() && effect == Effect::Reads => attempts
                    .record_failure_response(&TransientResponse(response.status()), response.retry_after())
                    .is_ok(),
                Ok(response) => {
                    if !response.is_transient() {
                        attempts.record_response();
                    }
                    false
                }
                Err(error) if error.is_transient() && (effect == Effect::Reads || error.is_unsent()) => {
                    attempts.record_failure(error, None).is_ok()
                }
                Err(_) => false,
            };
            let outcome = outcome.map_err(|error| Error::raw(error, effect));
            if !is_retry_permitted {
                return outcome;
            }
            last_outcome = Some(outcome);
        }
    }

    /// Sends a request once. A request that may write is sent in a critical section.
    async fn send_raw(
        &self,
        token: &AccessToken,
        request: Request,
        effect: Effect,
        time: CallTime,
    ) -> Result<Result<RawResponse, HttpError>, Error> {
        let _section = if effect == Effect::Reads { None } else { Some(self.sections.enter()?) };
        let pending = (effect == Effect::Submits).then(|| self.sections.record_creation(Creation::UnknownRun));
        let request = request.with_timeout(time.cap_to_remaining(self.inner.settings.run.timeout));
        let outcome = match self.http.send_as(token, request).await {
            Ok(response) => RawResponse::of(response, self.inner.clock.now()).await,
            Err(error) => Err(error),
        };
        pending.into_iter().for_each(PendingCreation::mark_resolved);
        Ok(outcome)
    }
}

/// Waits until the next attempt may be sent. Fails at the deadline.
async fn wait_for_turn(attempts: &mut Attempts, time: CallTime) -> Result<(), ApiError> {
    let turn = attempts.wait_until_ready();
    let turn = match time.remaining() {
        None => turn.await,
        Some(remaining_time) => tokio::time::timeout(remaining_time, turn).await.map_err(|_| {
            ApiError::unreachable(OPERATION_NAME, "its host is failing")
                .with_exhaustion_reason("no time is left for another attempt")
        })?,
    };
    turn.map_err(|exhausted| ApiError::unreachable(OPERATION_NAME, exhausted))
}
