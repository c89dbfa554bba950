use std::time::{Duration, SystemTime};

use auth_http::{Request, Response};
use platform_api::ApiError;
use serde::Deserialize;

use crate::client::Client;
use crate::error::Error;

/// The maximum size of a health response, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The health that the platform reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// The platform is healthy.
    Up,
    /// The platform is degraded, with an optional reason.
    Degraded(Option<String>),
    /// The platform is down, with an optional reason.
    Down(Option<String>),
    /// A state introduced by a newer platform.
    Unknown(String),
}

#[derive(Deserialize)]
struct HealthBody {
    status: String,
    reason: Option<String>,
}

struct HealthResponse {
    health: Health,
    /// The properties of a transient error response, if its body does not contain the health.
    transient_response: Option<TransientResponse>,
}

#[derive(Debug, thiserror::Error)]
#[error("the platform responded with {status} to the health check")]
struct TransientResponse {
    status: u16,
    retry_after: Option<Duration>,
}

impl Client {
    /// Returns the health of the platform, without authentication. An error response is reported as [`Health::Down`].
    ///
    /// # Errors
    ///
    /// The platform was not reached, or its response is not valid.
    pub async fn health(&self) -> Result<Health, Error> {
        Ok(self.request_health().await?.health)
    }

    /// Returns the health of the platform like [`health`](Self::health), and retries transient failures within the
    /// limits of a request. A response that contains the health is never retried, even if the platform is down.
    ///
    /// # Errors
    ///
    /// The same as [`health`](Self::health).
    pub async fn health_with_retries(&self) -> Result<Health, Error> {
        let policy = self.settings().retry.for_requests();
        let mut attempts = self.core.unauthenticated().attempts(&self.settings().api_root, &policy);
        let mut last_outcome = None;
        loop {
            if let Err(exhausted) = attempts.wait_until_ready().await {
                let unreachable_error = || Err(ApiError::unreachable("health", exhausted).into());
                return last_outcome.unwrap_or_else(unreachable_error);
            }
            let (outcome, retry_permission) = match self.request_health().await {
                Ok(HealthResponse { health, transient_response: Some(transient_response) }) => {
                    (Ok(health), attempts.record_failure_response(&transient_response, transient_response.retry_after))
                }
                Err(error) if error.is_transient() => {
                    let retry_permission = attempts.record_failure(&error, None);
                    (Err(error), retry_permission)
                }
                outcome => {
                    attempts.record_response();
                    return outcome.map(|response| response.health);
                }
            };
            if retry_permission.is_err() {
                return outcome;
            }
            last_outcome = Some(outcome);
        }
    }

    /// Returns the health of the platform like [`health`](Self::health), but with an authenticated request. Success
    /// also means that authenticated requests reach the platform.
    ///
    /// # Errors
    ///
    /// The platform was not reached, its response is not valid, or no token is available.
    pub async fn authenticated_health(&self) -> Result<Health, Error> {
        let response = self.core.authorized().send(self.health_request()).await.map_err(Error::health)?;
        Ok(parse_response(response, self.core.clock().now()).await?.health)
    }

    async fn request_health(&self) -> Result<HealthResponse, Error> {
        let response = self.core.unauthenticated().send(self.health_request()).await.map_err(Error::health)?;
        parse_response(response, self.core.clock().now()).await
    }

    fn health_request(&self) -> Request {
        let mut url = self.settings().api_root.clone();
        url.set_path(&format!("{}/health", url.path().trim_end_matches('/')));
        Request::get(url).with_timeout(self.settings().health_timeout)
    }
}

async fn parse_response(response: Response, now: SystemTime) -> Result<HealthResponse, Error> {
    let (status, is_transient, retry_after) = (response.status(), response.is_transient(), response.retry_after(now));
    let body = response.bytes(MAX_BODY_BYTES).await.map_err(Error::health)?;
    let (health, contains_health) = match serde_json::from_slice::<HealthBody>(&body) {
        Ok(HealthBody { status, reason }) => match status.as_str() {
            "UP" => (Health::Up, true),
            "DEGRADED" => (Health::Degraded(reason), true),
            "DOWN" => (Health::Down(reason), true),
            _ => (Health::Unknown(status), true),
        },
        Err(_) if (200..300).contains(&status) => return Err(Error::health_response(status)),
        Err(_) => (Health::Down(Some(format!("the health check returned {status}"))), false),
    };
    let transient_response = (is_transient && !contains_health).then_some(TransientResponse { status, retry_after });
    Ok(HealthResponse { health, transient_response })
}
