//! The typed client of the control routes.

use std::fmt;

use auth_http::{HttpClient, HttpError, Method, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::ServiceAccount;

use super::{Fault, JournalEntry, PREFIX, Revocation, Rotation, Server, Shift};

/// The largest answer that is read.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;

/// Controls a platform that was started with them: faults, a journal, time, keys and tokens.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use platform_emulator::{Effect, Emulator, Fault};
///
/// let emulator = Emulator::builder().with_control().start().await?;
/// let control = emulator.control().ok_or("no control")?;
/// control.inject(&Fault::new(Effect::Status { status: 503, body: None }).times(1)).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Control {
    http: HttpClient,
    api_root: Url,
    token: String,
}

/// A control request did not do what it was to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// It did not reach the emulator.
    #[error("the emulator was not reached")]
    Http(#[from] HttpError),
    /// The emulator refused it.
    #[error("the emulator refused ({status}): {detail}")]
    #[non_exhaustive]
    Refused {
        /// The status of the answer.
        status: u16,
        /// What the emulator said.
        detail: String,
    },
    /// The answer is not what was expected.
    #[error("the emulator answered something else than expected")]
    Malformed(#[from] serde_json::Error),
}

impl Control {
    /// The controls of the emulator whose API is at `api_root`; `token` is that of its ready line.
    pub fn new(http: HttpClient, api_root: Url, token: impl Into<String>) -> Self {
        Self { http, api_root, token: token.into() }
    }

    /// Lets something go wrong from now on.
    ///
    /// # Errors
    ///
    /// [`ControlError`]; all methods have the same.
    pub async fn inject(&self, fault: &Fault) -> Result<(), ControlError> {
        self.send(Method::Post, "/faults", Some(fault)).await
    }

    /// Lets nothing go wrong any more.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn clear_faults(&self) -> Result<(), ControlError> {
        self.send(Method::Delete, "/faults", None::<&()>).await
    }

    /// The faults that can still happen.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn faults(&self) -> Result<Vec<Fault>, ControlError> {
        self.read("/faults").await
    }

    /// What was asked of a server, in order: the last 100,000 requests to all three.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn journal(&self, server: Server) -> Result<Vec<JournalEntry>, ControlError> {
        let mut entries: Vec<JournalEntry> = self.read("/journal").await?;
        entries.retain(|entry| entry.server == server);
        Ok(entries)
    }

    /// Forgets what was asked.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn clear_journal(&self) -> Result<(), ControlError> {
        self.send(Method::Delete, "/journal", None::<&()>).await
    }

    /// Cancels a run as the platform does (`CANCELED_BY_SYSTEM`). Items that have not ended are skipped.
    ///
    /// # Errors
    ///
    /// [`ControlError`]: the run is unknown (404), or it has ended (409).
    pub async fn cancel_run(&self, run_id: &str) -> Result<(), ControlError> {
        self.send(Method::Post, &format!("/runs/{run_id}/cancel"), None::<&()>).await
    }

    /// Puts the clock of the platform forward, or back, by so many seconds.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn shift_clock(&self, seconds: i64) -> Result<(), ControlError> {
        self.send(Method::Post, "/clock", Some(&Shift { seconds })).await
    }

    /// Signs tokens with a new key from now on; `retire` refuses those of the old ones.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn rotate_keys(&self, retire: bool) -> Result<(), ControlError> {
        self.send(Method::Post, "/keys", Some(&Rotation { retire })).await
    }

    /// Refuses all access tokens that a user has now.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn revoke_tokens(&self, user: impl Into<String>) -> Result<(), ControlError> {
        self.send(Method::Post, "/tokens", Some(&Revocation { user: user.into() })).await
    }

    /// The service account of the organisation with this id, which signs URLs to its bucket (GOOG4-RSA-SHA256).
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn service_account(&self, organization: &str) -> Result<ServiceAccount, ControlError> {
        self.read(&format!("/service-accounts/{organization}")).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<(), ControlError> {
        self.exchange(method, path, body).await.map(|_| ())
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ControlError> {
        Ok(serde_json::from_slice(&self.exchange(Method::Get, path, None::<&()>).await?)?)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<bytes::Bytes, ControlError> {
        let mut url = self.api_root.clone();
        url.set_path(&format!("{PREFIX}{path}"));
        let mut request = Request::new(method, url).with_header("authorization", format!("Bearer {}", self.token));
        if let Some(body) = body {
            request = request.with_body("application/json", serde_json::to_vec(body)?);
        }
        let response = self.http.send(request).await?;
        let status = response.status();
        let answer = response.bytes(ANSWER_LIMIT).await?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        Err(ControlError::Refused { status, detail: String::from_utf8_lossy(&answer).into_owned() })
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Control").field("api_root", &self.api_root.as_str()).finish_non_exhaustive()
    }
}
