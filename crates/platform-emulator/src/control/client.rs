//! A typed client for the control routes.

use std::fmt;

use auth_http::{HttpClient, HttpError, Method, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::{ClockShift, KeyRotation, PREFIX, TokenRevocation};
use crate::fault::Fault;
use crate::journal::JournalEntry;
use crate::server_name::Server;
use crate::storage::ServiceAccount;

/// The maximum size of a response body.
const MAX_RESPONSE_BYTES: usize = 64 * 1024 * 1024;

/// A client for the control routes, which [`EmulatorBuilder::with_control`](crate::EmulatorBuilder::with_control)
/// enables: faults, request journal, clock, signing keys and tokens.
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

/// The error of a control request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The request did not reach the emulator.
    #[error("cannot reach the emulator")]
    Http(#[from] HttpError),
    /// The emulator rejected the request.
    #[error("the emulator rejected the request ({status}): {detail}")]
    #[non_exhaustive]
    Rejected {
        /// The response status.
        status: u16,
        /// The response text.
        detail: String,
    },
    /// The response cannot be parsed.
    #[error("unexpected response from the emulator")]
    Malformed(#[from] serde_json::Error),
}

impl Control {
    /// Creates a client for the emulator with this `api_root`. `token` is the control token, which
    /// `aignostics emulator` prints when it is ready.
    pub fn new(http: HttpClient, api_root: Url, token: impl Into<String>) -> Self {
        Self { http, api_root, token: token.into() }
    }

    /// Injects a fault.
    ///
    /// # Errors
    ///
    /// [`ControlError`]: the fault is invalid (422), or the request failed.
    pub async fn inject(&self, fault: &Fault) -> Result<(), ControlError> {
        self.send(Method::Post, "/faults", Some(fault)).await
    }

    /// Removes all faults.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn clear_faults(&self) -> Result<(), ControlError> {
        self.send(Method::Delete, "/faults", None::<&()>).await
    }

    /// Returns the faults that can still occur.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn faults(&self) -> Result<Vec<Fault>, ControlError> {
        self.get("/faults").await
    }

    /// Returns the requests to a server, oldest first. The journal contains the last 100,000 requests to all three
    /// servers.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn journal(&self, server: Server) -> Result<Vec<JournalEntry>, ControlError> {
        let mut entries: Vec<JournalEntry> = self.get("/journal").await?;
        entries.retain(|entry| entry.server == server);
        Ok(entries)
    }

    /// Clears the journal.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn clear_journal(&self) -> Result<(), ControlError> {
        self.send(Method::Delete, "/journal", None::<&()>).await
    }

    /// Cancels a run on behalf of the platform (`CANCELED_BY_SYSTEM`). Unfinished items are skipped.
    ///
    /// # Errors
    ///
    /// [`ControlError`]: the run is unknown (404) or has ended (409).
    pub async fn cancel_run(&self, run_id: &str) -> Result<(), ControlError> {
        self.send(Method::Post, &format!("/runs/{run_id}/cancel"), None::<&()>).await
    }

    /// Shifts the platform's clock by this number of seconds.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn shift_clock(&self, seconds: i64) -> Result<(), ControlError> {
        self.send(Method::Post, "/clock", Some(&ClockShift { seconds })).await
    }

    /// Creates a new signing key for new tokens. If `retire` is true, tokens signed with older keys are rejected.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn rotate_keys(&self, retire: bool) -> Result<(), ControlError> {
        self.send(Method::Post, "/keys", Some(&KeyRotation { retire })).await
    }

    /// Revokes all current access tokens of a user.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn revoke_tokens(&self, user: impl Into<String>) -> Result<(), ControlError> {
        self.send(Method::Post, "/tokens", Some(&TokenRevocation { user: user.into() })).await
    }

    /// Returns the service account of the organization with this id. It signs URLs to the organization's bucket
    /// (GOOG4-RSA-SHA256).
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn service_account(&self, organization: &str) -> Result<ServiceAccount, ControlError> {
        self.get(&format!("/service-accounts/{organization}")).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<(), ControlError> {
        self.request_bytes(method, path, body).await.map(|_| ())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ControlError> {
        Ok(serde_json::from_slice(&self.request_bytes(Method::Get, path, None::<&()>).await?)?)
    }

    async fn request_bytes(
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
        let body_bytes = response.bytes(MAX_RESPONSE_BYTES).await?;
        if (200..300).contains(&status) {
            return Ok(body_bytes);
        }
        Err(ControlError::Rejected { status, detail: String::from_utf8_lossy(&body_bytes).into_owned() })
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Control").field("api_root", &self.api_root.as_str()).finish_non_exhaustive()
    }
}
