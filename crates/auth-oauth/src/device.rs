//! Logins that the user approves on another device.

mod pending;
mod polling;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Redemption, Secret, TokenError, TokenRequest, begin_redemption};

use crate::client::token_error;
use crate::exchange::{FormRequest, FormResponse};
use crate::{OAuthClient, OAuthError};
use pending::PendingLogin;
use polling::{PollState, PollStep};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A login by the device authorization grant (RFC 8628).
///
/// The user opens a page with a browser on any device and approves the login. Until then, the login polls for the
/// token. Drop the future to cancel the login.
#[derive(Clone, Debug)]
pub struct DeviceLogin {
    client: OAuthClient,
    prompt: Arc<dyn Prompt>,
}

/// A means to ask the user to approve a device login, such as a terminal.
#[async_trait]
pub trait Prompt: fmt::Debug + Send + Sync {
    /// Shows the page and the code to the user. When this method returns, the login starts to poll for the approval.
    ///
    /// # Errors
    ///
    /// The page cannot be shown to the user. The error ends the login.
    async fn show(&self, authorization: &DeviceAuthorization) -> Result<(), Box<dyn Error + Send + Sync>>;
}

const _: Option<&dyn Prompt> = None;

/// The information that the user needs to approve a device login (RFC 8628, section 3.2).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeviceAuthorization {
    /// The URL of the page to open.
    pub verification_url: String,
    /// The URL of the same page with the code already entered, if the provider sent one.
    pub verification_url_complete: Option<String>,
    /// The code to enter on the page.
    pub user_code: String,
    /// The time at which the code expires.
    pub expires_at: SystemTime,
}

impl DeviceLogin {
    /// Creates a login for `client`.
    pub fn new(client: OAuthClient, prompt: Arc<dyn Prompt>) -> Self {
        Self { client, prompt }
    }

    pub(crate) fn client(&self) -> &OAuthClient {
        &self.client
    }

    /// Logs in, and returns the access token, usually with a refresh token.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_denied`], [`OAuthError::is_expired`], [`OAuthError::is_unverified`],
    /// [`OAuthError::is_unsupported`], a failed request or an invalid response. The error may contain a login that was
    /// issued: see [`OAuthError::issued_login`].
    pub async fn log_in(&self, request: &TokenRequest) -> Result<AccessToken, OAuthError> {
        let client = &self.client;
        let endpoint =
            client.endpoint(|regular| regular.device_authorization.as_ref(), |mtls| mtls.device_authorization.as_ref());
        let endpoint = endpoint.ok_or(OAuthError::unsupported("the device authorization"))?;
        client.ensure_keys_with_retries().await?;
        let request_codes = || async {
            let form = client.with_authorization_parameters(FormRequest::new(endpoint.clone()), request)?;
            PendingLogin::parse(&client.send(form).await.map_err(OAuthError::http)?, client.clock().now())
        };
        let PendingLogin { device_code, interval, authorization } =
            client.with_retries(endpoint, request_codes).await?;
        self.prompt.show(&authorization).await.map_err(OAuthError::prompt)?;
        tracing::debug!("waiting for the user to approve the login");
        let poll_state = PollState::new(interval, authorization.expires_at);
        // The redemption lasts until the login is verified, so that a process that is ending waits for the
        // verification.
        let (response, _redemption) = self.poll(&device_code, request, poll_state).await?;
        client.issued_token(&response, None).await
    }

    async fn poll(
        &self,
        device_code: &Secret,
        request: &TokenRequest,
        mut poll_state: PollState,
    ) -> Result<(FormResponse, Redemption), OAuthError> {
        let client = &self.client;
        loop {
            let form = client.continued_grant_form(GRANT_TYPE, request)?.with_secret("device_code", device_code);
            // Any of the responses may contain the login.
            let redemption = begin_redemption().map_err(|_| OAuthError::canceled())?;
            let response = client.send(form).await;
            match poll_state.next_step(response, client.clock().now())? {
                PollStep::Issued(response) => return Ok((response, redemption)),
                PollStep::Wait(time) => {
                    redemption.unused();
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "RFC 8628, section 3.5: the client polls at the interval that the provider sets"
                    )]
                    tokio::time::sleep(time).await;
                }
            }
        }
    }
}

#[async_trait]
impl AsyncTokenProvider for DeviceLogin {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.log_in(request).await.map_err(token_error)
    }

    fn is_interactive(&self) -> bool {
        true
    }
}
