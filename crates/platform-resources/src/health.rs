use auth_http::{Request, Response};
use serde::Deserialize;

use crate::{Client, Error};

/// More than this is no answer about health.
const LARGEST: usize = 64 * 1024;

/// How the platform is, by its own account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// All is well.
    Up,
    /// It works, but not as it should; it may say why.
    Degraded(Option<String>),
    /// It does not work; it may say why.
    Down(Option<String>),
    /// A state that a newer platform knows.
    Unknown(String),
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    reason: Option<String>,
}

impl Client {
    /// How the platform is, which everybody may ask. A platform that does not answer that is down.
    ///
    /// # Errors
    ///
    /// The platform was not reached.
    pub async fn health(&self) -> Result<Health, Error> {
        let response = self.core.plain().send(self.question()).await.map_err(Error::health)?;
        health(response).await
    }

    /// The same, asked with the token of the caller: whether that arrives, too.
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
        Err(_) => Health::Down(Some(format!("it answered {status} when it was asked how it is"))),
    })
}
