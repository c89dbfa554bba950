use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Clock, Secret, SystemClock, TokenError, TokenRequest};
use auth_http::HttpClient;
use oauth2::basic::BasicClient;
use oauth2::{ClientId, DeviceAuthorizationUrl, Scope, StandardDeviceAuthorizationResponse, TokenResponse, TokenUrl};

use crate::wire::{Wire, failed};
use crate::{Endpoints, JwtVerifier, OAuthError};

/// Logs in by the device authorization grant (RFC 8628): the user opens a page, wherever he has a
/// browser, and approves, while the login polls for the token.
///
/// With an [audience](Self::with_audience) the access token must be a JWT for it and is verified
/// before it is handed out.
#[derive(Clone, Debug)]
pub struct DeviceLogin {
    http: HttpClient,
    endpoints: Endpoints,
    client_id: String,
    audience: Option<String>,
    scopes: Vec<String>,
    prompt: Arc<dyn Prompt>,
    clock: Arc<dyn Clock>,
}

/// Asks the user to approve a device login.
#[async_trait]
pub trait Prompt: fmt::Debug + Send + Sync {
    /// Tells the user where to go; the login goes on once this returns.
    ///
    /// # Errors
    ///
    /// The user cannot be asked, which ends the login.
    async fn show(&self, authorization: &DeviceAuthorization) -> Result<(), Box<dyn Error + Send + Sync>>;
}

const _: Option<&dyn Prompt> = None;

/// What the user needs to approve a device login (RFC 8628, section 3.2).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeviceAuthorization {
    /// The page to open.
    pub verification_url: String,
    /// The same page with the code filled in, if the provider offers it.
    pub verification_url_complete: Option<String>,
    /// The code to enter there.
    pub user_code: String,
}

impl DeviceLogin {
    /// A login as the OAuth client `client_id`, which has no secret.
    pub fn new(http: HttpClient, endpoints: Endpoints, client_id: impl Into<String>, prompt: Arc<dyn Prompt>) -> Self {
        Self {
            http,
            endpoints,
            client_id: client_id.into(),
            audience: None,
            scopes: Vec::new(),
            prompt,
            clock: Arc::new(SystemClock),
        }
    }

    /// The service that the token is meant for.
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// The scopes to ask for.
    pub fn with_scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Judges the validity of tokens by `clock`.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Logs in.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_denied`], [`OAuthError::is_expired`], [`OAuthError::is_unverified`], or the
    /// provider could not be asked or understood.
    pub async fn login(&self) -> Result<AccessToken, OAuthError> {
        let client = BasicClient::new(ClientId::new(self.client_id.clone()))
            .set_device_authorization_url(DeviceAuthorizationUrl::from_url(self.endpoints.device_authorization.clone()))
            .set_token_uri(TokenUrl::from_url(self.endpoints.token.clone()));
        let wire = Wire(&self.http);

        let mut request = client.exchange_device_code().add_scopes(self.scopes.iter().cloned().map(Scope::new));
        if let Some(audience) = &self.audience {
            request = request.add_extra_param("audience", audience);
        }
        let device: StandardDeviceAuthorizationResponse = request.request_async(&wire).await.map_err(failed)?;
        self.prompt.show(&DeviceAuthorization::from(&device)).await.map_err(OAuthError::prompt)?;

        tracing::debug!("waiting for the user to approve the login");
        let poll = client.exchange_device_access_token(&device);
        #[expect(
            clippy::disallowed_methods,
            reason = "RFC 8628, section 3.5: the client polls at the interval it was given"
        )]
        let answer = poll.request_async(&wire, tokio::time::sleep, None).await.map_err(failed)?;
        self.verified(Secret::new(answer.access_token().secret()), answer.expires_in()).await
    }

    async fn verified(&self, secret: Secret, lifetime: Option<Duration>) -> Result<AccessToken, OAuthError> {
        let token = AccessToken::new(secret).map_err(|error| OAuthError::malformed(error.to_string()))?;
        let Some(audience) = &self.audience else {
            // It may be opaque: its end is what the provider says.
            let end = lifetime.and_then(|lifetime| self.clock.now().checked_add(lifetime));
            return Ok(end.into_iter().fold(token, AccessToken::with_expires_at));
        };
        let verifier =
            JwtVerifier::new(self.http.clone(), &self.endpoints.issuer, audience, self.endpoints.jwks.clone())
                .with_clock(self.clock.clone());
        let claims = verifier.verify(token.secret()).await.map_err(OAuthError::jwt)?;
        tracing::debug!(subject = claims.sub, "logged in");
        Ok(match claims.expires_at() {
            Some(end) => token.with_expires_at(end),
            None => token,
        })
    }
}

impl From<&StandardDeviceAuthorizationResponse> for DeviceAuthorization {
    fn from(response: &StandardDeviceAuthorizationResponse) -> Self {
        Self {
            verification_url: response.verification_uri().to_string(),
            verification_url_complete: response.verification_uri_complete().map(|url| url.secret().clone()),
            user_code: response.user_code().secret().clone(),
        }
    }
}

#[async_trait]
impl AsyncTokenProvider for DeviceLogin {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.login().await.map_err(|error| {
            if error.is_credential_refused() { TokenError::refused(error) } else { TokenError::provider(error) }
        })
    }
}
