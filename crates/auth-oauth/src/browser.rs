//! Logins with the user's browser on this machine.

mod callback;
mod headless;
mod page;

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenError, TokenRequest};
use oauth2::{CsrfToken, PkceCodeChallenge};
use url::Url;

use crate::client::token_error;
use crate::{OAuthClient, OAuthError};
use callback::CallbackListener;

pub use headless::headless_reason;

/// The default time that the user has to log in.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(300);

/// A login by the authorization code grant with PKCE S256 (RFC 6749, section 4.1; RFC 7636; RFC 8252).
///
/// The user logs in with the browser of this machine. The provider then redirects the browser to a loopback listener.
/// Drop the future to cancel the login.
#[derive(Clone, Debug)]
pub struct BrowserLogin {
    client: OAuthClient,
    redirect: Url,
    browser: Arc<dyn Browser>,
    timeout: Duration,
    prompt: Option<String>,
}

/// A means to direct the user to the login page of the provider, such as opening a browser or printing the URL.
#[async_trait]
pub trait Browser: fmt::Debug + Send + Sync {
    /// Shows the URL to the user, and may open it in a browser.
    ///
    /// The loopback listener is already bound. When this method returns, the login waits for the redirect. Return `Ok`
    /// if no browser could be opened but the user can open the URL.
    ///
    /// # Errors
    ///
    /// The URL cannot be shown to the user. The error ends the login.
    async fn open(&self, url: &Url) -> Result<(), Box<dyn Error + Send + Sync>>;
}

const _: Option<&dyn Browser> = None;

impl BrowserLogin {
    /// Creates a login for `client`, with the redirect URL `redirect`.
    ///
    /// The URL must be `http` on `127.0.0.1`, `[::1]` or `localhost`. For `localhost`, the login listens on both
    /// addresses, because the browser may resolve it to either. Port 0 selects any free port.
    ///
    /// # Errors
    ///
    /// `redirect` does not meet these conditions.
    pub fn new(client: OAuthClient, redirect: Url, browser: Arc<dyn Browser>) -> Result<Self, OAuthError> {
        CallbackListener::loopback_addresses(&redirect)?;
        Ok(Self { client, redirect, browser, timeout: LOGIN_TIMEOUT, prompt: None })
    }

    /// Checks that a login can listen at the redirect URL at this time.
    ///
    /// # Errors
    ///
    /// Another process uses the port ([`OAuthError::is_port_taken`]), or the URL is not valid for a login.
    pub fn check_redirect(redirect: &Url) -> Result<(), OAuthError> {
        CallbackListener::try_bind(redirect).map(drop)
    }

    /// Sets the time that the user has to log in. The default is five minutes.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the prompts that the provider must show, even if the user has a session.
    ///
    /// The value is one or more of `login`, `consent` and `select_account`, separated by spaces (`OpenID` Connect Core
    /// 1.0, section 3.1.2.1). Some providers issue a refresh token only after the prompt `consent` (section 11). Auth0
    /// does not require it.
    pub fn with_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = Some(prompt.into());
        self
    }

    /// Logs in, and returns the access token, usually with a refresh token.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_port_taken`], before the user is prompted; [`OAuthError::is_denied`],
    /// [`OAuthError::is_expired`], [`OAuthError::is_unverified`], [`OAuthError::is_unsupported`], a failed request or
    /// an invalid response. The error may contain a login that was issued: see [`OAuthError::issued_login`].
    pub async fn log_in(&self, request: &TokenRequest) -> Result<AccessToken, OAuthError> {
        let client = &self.client;
        let authorization_endpoint =
            client.endpoints().authorization.clone().ok_or(OAuthError::unsupported("the browser login"))?;
        // The listener is bound before the URL is shown, so that no other process can receive the code.
        let callback = CallbackListener::bind(&self.redirect).await?;
        client.ensure_keys_with_retries().await?;
        let state = Secret::new(CsrfToken::new_random().into_secret());
        let (code_challenge, code_verifier) = PkceCodeChallenge::new_random_sha256();
        let url = self.authorization_url(authorization_endpoint, &callback, &state, &code_challenge, request);
        self.browser.open(&url).await.map_err(OAuthError::prompt)?;
        tracing::debug!(redirect = %callback.redirect_url(), "waiting for the user to log in");
        let redirect = callback.redirect_url().clone();
        let code = callback.wait(&state, client.endpoints(), self.timeout).await?;
        let code_verifier = Secret::new(code_verifier.secret());
        let code_form = || {
            let form = client.continued_grant_form("authorization_code", request)?.with_secret("code", &code);
            Ok(form.with("redirect_uri", redirect.as_str()).with_secret("code_verifier", &code_verifier))
        };
        client.redeem_code(code_form).await
    }

    /// Returns the URL at which the user logs in.
    fn authorization_url(
        &self,
        mut url: Url,
        callback: &CallbackListener,
        state: &Secret,
        code_challenge: &PkceCodeChallenge,
        request: &TokenRequest,
    ) -> Url {
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", self.client.id())
            .append_pair("redirect_uri", callback.redirect_url().as_str())
            .append_pair("state", state.expose())
            .append_pair("code_challenge", code_challenge.as_str())
            .append_pair("code_challenge_method", code_challenge.method().as_str());
        query.extend_pairs(self.client.token_parameters(request));
        query.extend_pairs(request.subject().map(|subject| ("login_hint", subject)));
        query.extend_pairs(self.prompt.iter().map(|prompt| ("prompt", prompt)));
        drop(query);
        // A parameter must not occur twice (RFC 6749, section 3.1). A configured parameter is therefore left out if the
        // query already contains its name.
        let existing_names: BTreeSet<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
        let additional_parameters = self.client.parameters().iter().filter(|(name, _)| !existing_names.contains(name));
        url.query_pairs_mut().extend_pairs(additional_parameters);
        url
    }
}

#[async_trait]
impl AsyncTokenProvider for BrowserLogin {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.log_in(request).await.map_err(token_error)
    }

    fn is_interactive(&self) -> bool {
        true
    }
}
