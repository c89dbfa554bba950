//! Requests that no typed operation covers. They have the deadline, the retries and the tokens of other calls.

use auth_core::AccessToken;
use auth_http::retry::Attempts;
use auth_http::{HttpError, Request};
use platform_api::ApiError;

use super::Core;
use super::retry::Time;
use crate::critical::{Creation, Pending};
use crate::effect::Effect;
use crate::error::Error;
use crate::raw_response::RawResponse;

/// The name of the operation in errors.
const ID: &str = "request";

/// A status that is worth a retry.
#[derive(Debug, thiserror::Error)]
#[error("the platform responded with {0}")]
struct Refused(u16);

impl Core {
    /// Sends a request, and returns the response, whatever its status.
    pub(crate) async fn raw(&self, request: impl Fn() -> Request, effect: Effect) -> Result<RawResponse, Error> {
        let time = Time::begin(&self.mode);
        let mut token = self.token(time).await?;
        let mut may_renew = true;
        let mut attempts = self.inner.plain.attempts(&self.inner.root, &self.policy(&self.inner.settings.run));
        let mut last = None;
        loop {
            if let Err(error) = turn(&mut attempts, time).await {
                return last.unwrap_or_else(|| Err(error.into()));
            }
            let outcome = self.send_raw(&token, request(), effect, time).await?;
            let again = match &outcome {
                Ok(response) if response.status() == 401 && may_renew => {
                    attempts.answered();
                    may_renew = false;
                    match self.token(time).await {
                        Ok(renewed) => token = renewed,
                        // A login that cannot be refreshed now was not rejected.
                        Err(unavailable) if unavailable.is_transient() => return Err(unavailable),
                        Err(_) => return outcome.map_err(|error| Error::raw(error, effect)),
                    }
                    continue;
                }
                Ok(response) if response.is_transient() && effect == Effect::Reads => {
                    attempts.refused(&Refused(response.status()), response.retry_after()).is_ok()
                }
                Ok(response) => {
                    if !response.is_transient() {
                        attempts.answered();
                    }
                    false
                }
                Err(error) if error.is_transient() && (effect == Effect::Reads || error.is_unsent()) => {
                    attempts.failed(error, None).is_ok()
                }
                Err(_) => false,
            };
            let outcome = outcome.map_err(|error| Error::raw(error, effect));
            if !again {
                return outcome;
            }
            last = Some(outcome);
        }
    }

    /// Sends a request once. If it may change something, this is a critical section.
    async fn send_raw(
        &self,
        token: &AccessToken,
        request: Request,
        effect: Effect,
        time: Time,
    ) -> Result<Result<RawResponse, HttpError>, Error> {
        let _section = if effect == Effect::Reads { None } else { Some(self.sections.enter()?) };
        let pending = (effect == Effect::Submits).then(|| self.sections.begin(Creation::UnknownRun));
        let request = request.with_timeout(time.bounded(self.inner.settings.run.timeout));
        let outcome = match self.http.send_as(token, request).await {
            Ok(response) => RawResponse::of(response, self.inner.clock.now()).await,
            Err(error) => Err(error),
        };
        pending.into_iter().for_each(Pending::settle);
        Ok(outcome)
    }
}

/// Waits until the request may be sent, within the deadline.
async fn turn(attempts: &mut Attempts, time: Time) -> Result<(), ApiError> {
    let turn = attempts.ready();
    let turn = match time.left() {
        None => turn.await,
        Some(left) => tokio::time::timeout(left, turn).await.map_err(|_| {
            ApiError::unreachable(ID, "its host is failing")
                .with_reason_to_give_up("no time is left for another attempt")
        })?,
    };
    turn.map_err(|gave_up| ApiError::unreachable(ID, gave_up))
}
