//! Logins that the user approves on another device.

mod polling;
mod started;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Redemption, Secret, TokenError, TokenRequest, begin_redemption};

use crate::client::token_error;
use crate::exchange::{Answer, Exchange};
use crate::{OAuthClient, OAuthError};
use polling::{Next, Polling};
use started::Started;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A login by the device authorization grant (RFC 8628).
///
/// The user opens a page on any device with a browser and approves the login, which polls for the token.
/// Drop the future to cancel the login.
#[derive(Clone, Debug)]
pub struct DeviceLogin {
    client: OAuthClient,
    prompt: Arc<dyn Prompt>,
}

/// A way to ask the user to approve a device login.
#[async_trait]
pub trait Prompt: fmt::Debug + Send + Sync {
    /// Shows the page and the code to the user. The login continues when this method returns.
    ///
    /// # Errors
    ///
    /// The user cannot be asked. The error ends the login.
    async fn show(&self, authorization: &DeviceAuthorization) -> Result<(), Box<dyn Error + Send + Sync>>;
}

const _: Option<&dyn Prompt> = None;

/// The information that the user needs to approve a device login (RFC 8628, section 3.2).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeviceAuthorization {
    /// The page to open.
    pub verification_url: String,
    /// The same page with the code filled in, if the provider offers it.
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

    /// Logs in.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_denied`], [`OAuthError::is_expired`], [`OAuthError::is_unverified`],
    /// [`OAuthError::is_unsupported`], a failed request or an invalid response. See [`OAuthError::issued_login`].
    pub async fn log_in(&self, request: &TokenRequest) -> Result<AccessToken, OAuthError> {
        let client = &self.client;
        let endpoint =
            client.endpoint(|usual| usual.device_authorization.as_ref(), |mtls| mtls.device_authorization.as_ref());
        let endpoint = endpoint.ok_or(OAuthError::unsupported("the device authorization"))?;
        client.prepare_login().await?;
        let start = || async {
            let exchange = client.started(Exchange::new(endpoint.clone()), request)?;
            Started::read(&client.ask(exchange).await.map_err(OAuthError::http)?, client.clock().now())
        };
        let Started { device_code, interval, authorization } = client.repeated(endpoint, start).await?;
        self.prompt.show(&authorization).await.map_err(OAuthError::prompt)?;
        tracing::debug!("waiting for the user to approve the login");
        let polling = Polling::new(interval, authorization.expires_at);
        // An approved login must not be lost while it is verified.
        let (answer, _redemption) = self.poll(&device_code, request, polling).await?;
        client.issued(&answer, None).await
    }

    async fn poll(
        &self,
        device_code: &Secret,
        request: &TokenRequest,
        mut polling: Polling,
    ) -> Result<(Answer, Redemption), OAuthError> {
        let client = &self.client;
        loop {
            let exchange = client.continued(GRANT_TYPE, request)?.with_secret("device_code", device_code);
            // Each request may be the one that is answered with the login.
            let redemption = begin_redemption().map_err(|_| OAuthError::canceled())?;
            let answer = client.ask(exchange).await;
            match polling.next(answer, client.clock().now())? {
                Next::Issued(answer) => return Ok((answer, redemption)),
                Next::Wait(time) => {
                    redemption.unused();
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "RFC 8628, section 3.5: the client polls at the interval it was given"
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
