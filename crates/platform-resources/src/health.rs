use auth_http::{Request, Response};
use serde::Deserialize;

use crate::{Client, Error};

/// The maximum size of a health response.
const LARGEST: usize = 64 * 1024;

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

impl Client {
    /// Returns the health of the platform, without authentication. An error response counts as down.
    ///
    /// # Errors
    ///
    /// The platform was not reached.
    pub async fn health(&self) -> Result<Health, Error> {
        let response = self.core.plain().send(self.question()).await.map_err(Error::health)?;
        health(response).await
    }

    /// Returns the health of the platform, with the caller's token. It also tests that authenticated requests arrive.
    ///
    /// # Errors
    ///
    /// The platform was not reached, or there is no token.
    pub async fn authenticated_health(&self) -> Result<Health, Error> {
        let response = self.core.authorized().send(self.question()).await.map_err(Error::health)?;
        health(response).await
    }

    fn question(&self) -> Request {
        let mut url = self.settings().api_root.clone();
        url.set_path(&format!("{}/health", url.path().trim_end_matches('/')));
        Request::get(url).with_timeout(self.settings().health_timeout)
    }
}

async fn health(response: Response) -> Result<Health, Error> {
    let status = response.status();
    let body = response.bytes(LARGEST).await.map_err(Error::health)?;
    Ok(match serde_json::from_slice::<Answer>(&body) {
        Ok(Answer { status, reason }) => match status.as_str() {
            "UP" => Health::Up,
            "DEGRADED" => Health::Degraded(reason),
            "DOWN" => Health::Down(reason),
            _ => Health::Unknown(status),
        },
        Err(_) => Health::Down(Some(format!("the health check returned {status}"))),
    })
}
