use std::time::{Duration, SystemTime};

use auth_http::{Request, Response};
use platform_api::ApiError;
use serde::Deserialize;

use crate::client::Client;
use crate::error::Error;

/// The maximum size of a health response.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The health of the platform, as reported by itself.
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
struct Answer {
    status: String,
    reason: Option<String>,
}

/// An answer to a health request.
struct Asked {
    health: Health,
    /// The status and the `Retry-After` of a transient error that does not state the health.
    refused: Option<Refused>,
}

#[derive(Debug, thiserror::Error)]
#[error("the platform answered {status} to the health check")]
struct Refused {
    status: u16,
    retry_after: Option<Duration>,
}

impl Client {
    /// Returns the health of the platform, without authentication. An error response counts as down.
    ///
    /// # Errors
    ///
    /// The platform was not reached, or its answer is not understood.
    pub async fn health(&self) -> Result<Health, Error> {
        Ok(self.ask_health().await?.health)
    }

    /// Returns the health of the platform like [`health`](Self::health), and retries transient failures within the
    /// limits of a request. A platform that states that it is down is not asked again.
    ///
    /// # Errors
    ///
    /// The same as [`health`](Self::health).
    pub async fn health_with_retries(&self) -> Result<Health, Error> {
        let policy = self.settings().retry.for_requests();
        let mut attempts = self.core.plain().attempts(&self.settings().api_root, &policy);
        let mut last = None;
        loop {
            if let Err(gave_up) = attempts.ready().await {
                let unreachable = || Err(ApiError::unreachable("health", gave_up).into());
                return last.unwrap_or_else(unreachable);
            }
            let (outcome, again) = match self.ask_health().await {
                Ok(Asked { health, refused: Some(refused) }) => {
                    (Ok(health), attempts.refused(&refused, refused.retry_after))
                }
                Err(error) if error.is_transient() => {
                    let again = attempts.failed(&error, None);
                    (Err(error), again)
                }
                answer => {
                    attempts.answered();
                    return answer.map(|asked| asked.health);
                }
            };
            if again.is_err() {
                return outcome;
            }
            last = Some(outcome);
        }
    }

    /// Returns the health of the platform, with the caller's token. It also tests that authenticated requests arrive.
    ///
    /// # Errors
    ///
    /// The platform was not reached, its answer is not understood, or a token is missing.
    pub async fn authenticated_health(&self) -> Result<Health, Error> {
        let response = self.core.authorized().send(self.question()).await.map_err(Error::health)?;
        Ok(read(response, self.core.clock().now()).await?.health)
    }

    async fn ask_health(&self) -> Result<Asked, Error> {
        let response = self.core.plain().send(self.question()).await.map_err(Error::health)?;
        read(response, self.core.clock().now()).await
    }

    fn question(&self) -> Request {
        let mut url = self.settings().api_root.clone();
        url.set_path(&format!("{}/health", url.path().trim_end_matches('/')));
        Request::get(url).with_timeout(self.settings().health_timeout)
    }
}

async fn read(response: Response, now: SystemTime) -> Result<Asked, Error> {
    let (status, is_transient, retry_after) = (response.status(), response.is_transient(), response.retry_after(now));
    let body = response.bytes(MAX_BODY_BYTES).await.map_err(Error::health)?;
    let (health, is_stated) = match serde_json::from_slice::<Answer>(&body) {
        Ok(Answer { status, reason }) => match status.as_str() {
            "UP" => (Health::Up, true),
            "DEGRADED" => (Health::Degraded(reason), true),
            "DOWN" => (Health::Down(reason), true),
            _ => (Health::Unknown(status), true),
        },
        Err(_) if (200..300).contains(&status) => return Err(Error::health_answer(status)),
        Err(_) => (Health::Down(Some(format!("the health check returned {status}"))), false),
    };
    let refused = (is_transient && !is_stated).then_some(Refused { status, retry_after });
    Ok(Asked { health, refused })
}
