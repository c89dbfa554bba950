//! The polling rules of a device login (RFC 8628, sections 3.4 and 3.5). This module uses neither a clock nor the
//! network.
//!
//! - The first request is sent at once, because the user may already have approved. Each other request follows after
//!   the interval of the provider, or 5 s. An interval below 0.1 s becomes 0.1 s.
//! - `authorization_pending` changes nothing. Each `slow_down` adds 5 s for the rest of the login. Both may have any
//!   status but 5xx: GitHub sends them with 200, and others send `slow_down` with 429.
//! - Any other 429 and a server error (5xx) are retried, after `Retry-After` if that is longer than the interval.
//! - A failed connection or a timeout doubles the interval, to reduce the load on the provider.
//! - An untrusted certificate ends the login at once, because it would fail until the codes expire.
//! - Any other error ends the login. So does the expiry of the codes, whatever the last response was.

use std::time::{Duration, SystemTime};

use auth_core::Backoff;
use auth_http::HttpError;

use crate::OAuthError;
use crate::exchange::Answer;

/// The default interval (RFC 8628, section 3.2).
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// The increase of the interval for each `slow_down` (RFC 8628, section 3.5).
const SLOW_DOWN_STEP: Duration = Duration::from_secs(5);

pub(super) struct Polling {
    interval: Duration,
    expires_at: SystemTime,
}

pub(super) enum Next {
    /// Send the next request after this time.
    Wait(Duration),
    /// The user has approved the login. The response contains the tokens, which may be unusable.
    Issued(Answer),
}

impl Polling {
    pub(super) fn new(interval: Option<Duration>, expires_at: SystemTime) -> Self {
        Self { interval: interval.unwrap_or(DEFAULT_INTERVAL).max(MIN_INTERVAL), expires_at }
    }

    pub(super) fn next(&mut self, answer: Result<Answer, HttpError>, now: SystemTime) -> Result<Next, OAuthError> {
        let least = match answer {
            Ok(answer) if answer.is_overburdened() => {
                tracing::debug!("the identity provider failed; polling again");
                if answer.is_slow_down() {
                    self.slow_down();
                }
                answer.retry_after()
            }
            Ok(answer) => {
                match answer.token(now) {
                    Err(error) if error.is_pending() => {}
                    Err(error) if error.is_slow_down() => self.slow_down(),
                    Err(error) if error.is_refusal() || !answer.is_success() => return Err(error),
                    Ok(_) | Err(_) => return Ok(Next::Issued(answer)),
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
            Err(error) => return Err(OAuthError::exchange(error)),
        };
        let wait = self.interval.max(least.unwrap_or_default());
        // The codes would expire before the next request.
        let in_time = now.checked_add(wait).is_some_and(|then| then < self.expires_at);
        if in_time { Ok(Next::Wait(wait)) } else { Err(OAuthError::expired()) }
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

    fn error(code: &str) -> Answer {
        refused(400, code)
    }

    fn refused(status: u16, code: &str) -> Answer {
        Answer::new(status, None, &format!(r#"{{"error":"{code}"}}"#))
    }

    fn wait(next: Result<Next, OAuthError>) -> u64 {
        match next.unwrap() {
            Next::Wait(time) => time.as_secs(),
            Next::Issued(_) => panic!("it is not done yet"),
        }
    }

    #[test]
    fn polling_obeys_the_interval_and_slow_down() {
        let mut polling = Polling::new(None, after(600));
        let answers =
            [("authorization_pending", 5), ("slow_down", 10), ("authorization_pending", 10), ("slow_down", 15)];
        for (code, seconds) in answers {
            assert_eq!(wait(polling.next(Ok(error(code)), START)), seconds, "{code}");
        }
        for status in [503, 429] {
            let answer = refused(status, "invalid_grant");
            assert_eq!(wait(polling.next(Ok(answer), START)), 15, "a provider at fault");
        }
        let answer = Answer::new(200, None, r#"{"access_token":"t","token_type":"Bearer","expires_in":60}"#);
        let Ok(Next::Issued(answer)) = polling.next(Ok(answer), START) else { panic!("it is done") };
        assert_eq!(answer.token(START).unwrap().expires_at(), Some(after(60)));
    }

    #[test]
    fn polling_stops_at_a_refusal_or_the_deadline() {
        let mut polling = Polling::new(Some(Duration::from_secs(2)), after(10));
        assert!(polling.next(Ok(error("access_denied")), START).is_err_and(|error| error.is_denied()));
        assert!(polling.next(Ok(error("expired_token")), START).is_err_and(|error| error.is_expired()));
        assert!(polling.next(Ok(error("invalid_grant")), START).is_err_and(|error| error.is_credential_refused()));
        assert_eq!(wait(polling.next(Ok(error("authorization_pending")), after(7))), 2);
        assert!(polling.next(Ok(error("authorization_pending")), after(8)).is_err_and(|error| error.is_expired()));
        let mut at_once = Polling::new(Some(Duration::ZERO), after(10));
        let Ok(Next::Wait(time)) = at_once.next(Ok(error("authorization_pending")), START) else {
            panic!("polling continues")
        };
        assert_eq!(time, MIN_INTERVAL);
    }

    #[test]
    fn refusals_with_200_are_those_with_400() {
        let mut polling = Polling::new(None, after(600));
        for (code, seconds) in [("authorization_pending", 5), ("slow_down", 10), ("slow_down", 15)] {
            assert_eq!(wait(polling.next(Ok(refused(200, code)), START)), seconds, "{code}");
        }
        assert!(polling.next(Ok(refused(200, "expired_token")), START).is_err_and(|error| error.is_expired()));
        assert!(polling.next(Ok(refused(200, "access_denied")), START).is_err_and(|error| error.is_denied()));
        let error = polling.next(Ok(refused(200, "invalid_grant")), START).err().unwrap();
        assert!(error.is_credential_refused() && !error.is_uncertain(), "{error:?}");
    }

    #[test]
    fn too_many_requests_slow_down_only_if_that_is_the_code() {
        let mut polling = Polling::new(None, after(600));
        assert_eq!(wait(polling.next(Ok(refused(429, "slow_down")), START)), 10);
        assert_eq!(wait(polling.next(Ok(refused(429, "slow_down")), START)), 15);
        assert_eq!(wait(polling.next(Ok(refused(429, "access_denied")), START)), 15);
        for (status, retry_after, seconds) in [(429, 60, 60), (429, 1, 15), (503, 30, 30), (429, 0, 15)] {
            let answer = Answer::new(status, Some(Duration::from_secs(retry_after)), "<html>");
            assert_eq!(wait(polling.next(Ok(answer), START)), seconds, "{status} {retry_after}");
        }
        assert_eq!(wait(polling.next(Ok(refused(400, "authorization_pending")), START)), 15, "once");
        let late = Answer::new(429, Some(Duration::from_secs(600)), "");
        assert!(polling.next(Ok(late), START).is_err_and(|error| error.is_expired()));
    }
}
