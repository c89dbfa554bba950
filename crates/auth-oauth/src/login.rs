//! The login of a user, with the grants that are configured.

use std::error::Error;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, TokenError, TokenRequest};

use crate::client::{refresh_error, token_error};
use crate::identity;
use crate::{BrowserLogin, DeviceLogin, OAuthClient, OAuthError, RefreshGrant};

/// The login of a user, which is refreshed or started with the configured grants.
///
/// A stored login is refreshed for as long as the provider allows. Otherwise, the user logs in with the browser, or
/// else with the device flow. Each step logs its reason.
///
/// If neither is configured, the user is never prompted, and a required login is an error
/// ([`OAuthError::is_login_required`]). With a [`FileTokenStore`](crate::FileTokenStore) as the cache and the lease of
/// a `TokenSource`, one process refreshes the login for all processes of the user.
///
/// ```
/// # fn example(
/// #     client: auth_oauth::OAuthClient,
/// #     browser: auth_oauth::BrowserLogin,
/// # ) -> Result<(), auth_core::SourceBuildError> {
/// use std::sync::Arc;
/// use auth_core::TokenSource;
/// use auth_oauth::{FileTokenStore, UserLogin};
///
/// let store = Arc::new(FileTokenStore::new("/home/user/.cache/example/logins"));
/// // The folder belongs to one user, who has one login there.
/// let key = client.token_key().with_identity("the-user-of-this-folder").build();
/// let login = UserLogin::new(client).with_browser(browser);
/// let tokens = TokenSource::builder(key, login).with_cache(store.clone()).with_lease(store).build()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct UserLogin {
    /// The clients whose logins are refreshed. There is at least one.
    clients: Vec<OAuthClient>,
    browser: Option<BrowserLogin>,
    device: Option<DeviceLogin>,
}

impl UserLogin {
    /// Creates a login that only refreshes stored logins of `client`, and never prompts the user.
    pub fn new(client: OAuthClient) -> Self {
        Self { clients: vec![client], browser: None, device: None }
    }

    /// Adds a client whose stored logins are refreshed.
    ///
    /// Some providers require a separate client for device logins, and only that client can refresh them.
    pub fn with_client(mut self, client: OAuthClient) -> Self {
        if self.clients.iter().all(|existing| existing.id() != client.id()) {
            self.clients.push(client);
        }
        self
    }

    /// Sets the login with the browser of this machine.
    pub fn with_browser(mut self, browser: BrowserLogin) -> Self {
        self.browser = Some(browser);
        self
    }

    /// Sets the device login. It is used if no browser login is set, and after some failures of the browser login. The
    /// client of the device login is also added, as by [`with_client`](Self::with_client).
    pub fn with_device(self, device: DeviceLogin) -> Self {
        let login = self.with_client(device.client().clone());
        Self { device: Some(device), ..login }
    }

    /// Logs in with the browser or the device flow, even if there is a stored login.
    ///
    /// # Errors
    ///
    /// The errors of [`BrowserLogin::log_in`] and [`DeviceLogin::log_in`], or [`OAuthError::is_login_required`] if
    /// neither is configured. The error may contain a login that was issued: see [`OAuthError::issued_login`].
    pub async fn log_in(&self, request: &TokenRequest) -> Result<AccessToken, OAuthError> {
        if let Some(browser) = &self.browser {
            tracing::info!("logging in with the browser");
            match (browser.log_in(request).await, &self.device) {
                // After these errors, the device login may succeed.
                (Err(error), Some(_)) if error.is_port_taken() || error.is_expired() || error.is_prompt_failed() => {
                    let error = &error as &dyn Error;
                    tracing::info!(error, "the browser login failed; using the device flow");
                }
                (outcome, _) => return outcome,
            }
        }
        match &self.device {
            Some(device) => {
                tracing::info!("logging in with the device flow");
                device.log_in(request).await
            }
            None => Err(OAuthError::login_required()),
        }
    }

    /// Revokes a login at the provider (RFC 7009), with the client that the login belongs to. If that client is
    /// unknown, all clients are used, because a success of one client does not show that the login belonged to it
    /// (section 2.2).
    ///
    /// # Errors
    ///
    /// The last error of [`OAuthClient::revoke`], if no client succeeds.
    pub async fn revoke(&self, token: &AccessToken) -> Result<(), OAuthError> {
        let mut outcome = Err(OAuthError::login_required());
        for client in self.clients_of(token) {
            let revocation = client.revoke(token).await;
            if outcome.is_err() {
                outcome = revocation;
            }
        }
        outcome
    }

    /// Refreshes a login with the client that it belongs to.
    ///
    /// If that client is unknown, all clients are tried, because a refusal may mean that the login belongs to another
    /// client. The refresh token is invalid only if all clients get `invalid_grant`. The client is unknown, for
    /// example, if an older version stored the login and its access token is not a JWT.
    async fn refresh_login(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, OAuthError> {
        let refresh_token = previous.refresh_token().ok_or_else(OAuthError::login_required)?;
        let mut refusal: Option<OAuthError> = None;
        for client in self.clients_of(previous) {
            let grant = RefreshGrant::new(client);
            match grant.redeem_for(Some(previous), refresh_token, request).await {
                Err(error) if error.is_credential_refused() => {
                    refusal = Some(refusal.filter(|earlier| !earlier.is_invalid_grant()).unwrap_or(error));
                }
                outcome => return outcome,
            }
        }
        Err(refusal.unwrap_or_else(OAuthError::login_required))
    }

    /// Returns the client that a login belongs to, or all clients if it is unknown.
    fn clients_of(&self, token: &AccessToken) -> Vec<OAuthClient> {
        match identity::client_id_of(token) {
            Some(_) => vec![self.client_of(token)],
            None => self.clients.clone(),
        }
    }

    fn client_of(&self, token: &AccessToken) -> OAuthClient {
        let first_client = &self.clients[0];
        let Some(id) = identity::client_id_of(token) else { return first_client.clone() };
        let configured_client = self.clients.iter().find(|client| client.id() == id);
        // The id of a client that is no longer configured is used anyway, because the refusal of another client would
        // end the login.
        configured_client.cloned().unwrap_or_else(|| first_client.clone().with_id(id))
    }
}

#[async_trait]
impl AsyncTokenProvider for UserLogin {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        tracing::debug!("no login is stored");
        self.log_in(request).await.or_else(OAuthError::into_issued_login).map_err(token_error)
    }

    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        let error = match self.refresh_login(request, previous).await {
            Ok(token) => return Ok(token),
            Err(error) if !self.is_interactive() || !error.is_credential_refused() => return Err(refresh_error(error)),
            Err(error) => error,
        };
        tracing::info!(error = &error as &dyn Error, "the stored login cannot be refreshed");
        let is_invalid_grant = error.is_invalid_grant();
        let login_error = |error| if is_invalid_grant { TokenError::grant_refused(error) } else { token_error(error) };
        self.log_in(request).await.or_else(OAuthError::into_issued_login).map_err(login_error)
    }

    async fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        self.client_of(token).verify_stored(token).await
    }

    fn announces_redemption(&self) -> bool {
        true
    }

    fn is_interactive(&self) -> bool {
        self.browser.is_some() || self.device.is_some()
    }

    /// Returns true, because a rotating refresh token is valid once.
    fn needs_lease(&self) -> bool {
        true
    }
}
