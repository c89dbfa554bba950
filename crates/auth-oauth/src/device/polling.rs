//! The polling rules of a device login (RFC 8628, sections 3.4 and 3.5). This module uses neither a clock nor the
//! network.
//!
//! - The first request is sent immediately, because the user may already have approved the login. Each further request
//!   follows after the interval of the provider, or after 5 s if it sets none. An interval below 0.1 s becomes 0.1 s.
//! - `authorization_pending` does not change the interval. Each `slow_down` adds 5 s for the rest of the login. Both
//!   are accepted with any status, because GitHub sends them with 200, and other providers send `slow_down` with 429.
//! - Any other response with a transient status, such as 429 or 503, is ignored. If its `Retry-After` is longer than
//!   the interval, the next request waits for that time.
//! - A failed connection or a timeout doubles the interval, to reduce the load on the provider.
//! - An untrusted certificate ends the login immediately, because all further requests would fail, too.
//! - Any other error ends the login. The login also ends when the codes would expire before the next request.

use std::time::{Duration, SystemTime};

use auth_core::Backoff;
use auth_http::HttpError;

use crate::OAuthError;
use crate::exchange::FormResponse;

/// The default interval (RFC 8628, section 3.2).
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// The increase of the interval for each `slow_down` (RFC 8628, section 3.5).
const SLOW_DOWN_STEP: Duration = Duration::from_secs(5);

/// The interval of the polling, and the expiry of the codes.
pub(super) struct PollState {
    interval: Duration,
    expires_at: SystemTime,
}

/// The next step of the polling.
pub(super) enum PollStep {
    /// Send the next request after this time.
    Wait(Duration),
    /// The user has approved the login. The response contains the tokens, although they may be unusable.
    Issued(FormResponse),
}

impl PollState {
    pub(super) fn new(interval: Option<Duration>, expires_at: SystemTime) -> Self {
        Self { interval: interval.unwrap_or(DEFAULT_INTERVAL).max(MIN_INTERVAL), expires_at }
    }

    /// Applies a response, and returns the next step. An error ends the login.
    pub(super) fn next_step(
        &mut self,
        response: Result<FormResponse, HttpError>,
        now: SystemTime,
    ) -> Result<PollStep, OAuthError> {
        let min_wait = match response {
            Ok(response) if response.is_transient() => {
                tracing::debug!("the identity provider failed; polling again");
                if response.is_slow_down() {
                    self.slow_down();
                }
                response.retry_after()
            }
            Ok(response) => {
                match response.token(now) {
                    Err(error) if error.is_pending() => {}
                    Err(error) if error.is_slow_down() => self.slow_down(),
                    Err(error) if error.is_refusal() || !response.is_success() => return Err(error),
                    Ok(_) | Err(_) => return Ok(PollStep::Issued(response)),
                }
                None
            }
            Err(error) if error.is_transient() => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "cannot reach the identity provider; polling again"
                );
                self.interval = Backoff::new(self.interval, Duration::MAX).bound(2);
                None
            }
            Err(error) => return Err(OAuthError::no_response(error)),
        };
        let wait = self.interval.max(min_wait.unwrap_or_default());
        let can_poll_again = now.checked_add(wait).is_some_and(|next_poll| next_poll < self.expires_at);
        if can_poll_again { Ok(PollStep::Wait(wait)) } else { Err(OAuthError::expired()) }
    }

    fn slow_down(&mut self) {
        self.interval = self.interval.saturating_add(SLOW_DOWN_STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn after(seconds: u64) -> SystemTime {
        START + Duration::from_secs(seconds)
    }

    fn refusal(code: &str) -> FormResponse {
        refusal_with_status(400, code)
    }

    fn refusal_with_status(status: u16, code: &str) -> FormResponse {
        FormResponse::new(status, None, &format!(r#"{{"error":"{code}"}}"#))
    }

    fn wait_seconds(step: Result<PollStep, OAuthError>) -> u64 {
        match step.unwrap() {
            PollStep::Wait(time) => time.as_secs(),
            PollStep::Issued(_) => panic!("the login is not approved yet"),
        }
    }

    #[test]
    fn polling_uses_the_interval_and_slow_down() {
        let mut poll_state = PollState::new(None, after(600));
        let responses =
            [("authorization_pending", 5), ("slow_down", 10), ("authorization_pending", 10), ("slow_down", 15)];
        for (code, seconds) in responses {
            assert_eq!(wait_seconds(poll_state.next_step(Ok(refusal(code)), START)), seconds, "{code}");
        }
        for status in [503, 429] {
            let response = refusal_with_status(status, "invalid_grant");
            assert_eq!(wait_seconds(poll_state.next_step(Ok(response), START)), 15, "the provider fails");
        }
        let response = FormResponse::new(200, None, r#"{"access_token":"t","token_type":"Bearer","expires_in":60}"#);
        let Ok(PollStep::Issued(response)) = poll_state.next_step(Ok(response), START) else {
            panic!("the login is approved")
        };
        assert_eq!(response.token(START).unwrap().expires_at(), Some(after(60)));
    }

    #[test]
    fn polling_ends_with_a_refusal_or_the_expiry_of_the_codes() {
        let mut poll_state = PollState::new(Some(Duration::from_secs(2)), after(10));
        assert!(poll_state.next_step(Ok(refusal("access_denied")), START).is_err_and(|error| error.is_denied()));
        assert!(poll_state.next_step(Ok(refusal("expired_token")), START).is_err_and(|error| error.is_expired()));
        assert!(
            poll_state.next_step(Ok(refusal("invalid_grant")), START).is_err_and(|error| error.is_credential_refused())
        );
        assert_eq!(wait_seconds(poll_state.next_step(Ok(refusal("authorization_pending")), after(7))), 2);
        assert!(
            poll_state.next_step(Ok(refusal("authorization_pending")), after(8)).is_err_and(|error| error.is_expired())
        );
        let mut zero_interval = PollState::new(Some(Duration::ZERO), after(10));
        let Ok(PollStep::Wait(time)) = zero_interval.next_step(Ok(refusal("authorization_pending")), START) else {
            panic!("polling continues")
        };
        assert_eq!(time, MIN_INTERVAL);
    }

    #[test]
    fn refusals_with_status_200_are_treated_like_those_with_400() {
        let mut poll_state = PollState::new(None, after(600));
        for (code, seconds) in [("authorization_pending", 5), ("slow_down", 10), ("slow_down", 15)] {
            assert_eq!(
                wait_seconds(poll_state.next_step(Ok(refusal_with_status(200, code)), START)),
                seconds,
                "{code}"
            );
        }
        assert!(
            poll_state
                .next_step(Ok(refusal_with_status(200, "expired_token")), START)
                .is_err_and(|error| error.is_expired())
        );
        assert!(
            poll_state
                .next_step(Ok(refusal_with_status(200, "access_denied")), START)
                .is_err_and(|error| error.is_denied())
        );
        let error = poll_state.next_step(Ok(refusal_with_status(200, "invalid_grant")), START).err().unwrap();
        assert!(error.is_credential_refused() && !error.is_uncertain(), "{error:?}");
    }

    #[test]
    fn status_429_slows_polling_down_only_with_the_code_slow_down() {
        let mut poll_state = PollState::new(None, after(600));
        assert_eq!(wait_seconds(poll_state.next_step(Ok(refusal_with_status(429, "slow_down")), START)), 10);
        assert_eq!(wait_seconds(poll_state.next_step(Ok(refusal_with_status(429, "slow_down")), START)), 15);
        assert_eq!(wait_seconds(poll_state.next_step(Ok(refusal_with_status(429, "access_denied")), START)), 15);
        for (status, retry_after, seconds) in [(429, 60, 60), (429, 1, 15), (503, 30, 30), (429, 0, 15)] {
            let response = FormResponse::new(status, Some(Duration::from_secs(retry_after)), "<html>");
            assert_eq!(wait_seconds(poll_state.next_step(Ok(response), START)), seconds, "{status} {retry_after}");
        }
        assert_eq!(
            wait_seconds(poll_state.next_step(Ok(refusal_with_status(400, "authorization_pending")), START)),
            15,
            "Retry-After applies to one request"
        );
        let long_retry_after = FormResponse::new(429, Some(Duration::from_secs(600)), "");
        assert!(poll_state.next_step(Ok(long_retry_after), START).is_err_and(|error| error.is_expired()));
    }
}
