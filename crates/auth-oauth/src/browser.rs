//! Logins in the user's browser, on this machine.

mod call_back;
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
use call_back::CallBack;

pub use headless::headless;

/// A user has so long to log in.
const PATIENCE: Duration = Duration::from_secs(300);

/// Logs in by the authorization code grant with PKCE S256 (RFC 6749, section 4.1; RFC 7636; RFC 8252): the user logs in
/// with the browser of this machine, which the provider sends back to a listener on loopback. Drop its future to give up.
#[derive(Clone, Debug)]
pub struct BrowserLogin {
    client: OAuthClient,
    redirect: Url,
    browser: Arc<dyn Browser>,
    patience: Duration,
    prompt: Option<String>,
}

/// Leads the user to the page of the provider.
#[async_trait]
pub trait Browser: fmt::Debug + Send + Sync {
    /// Tells the user the URL, and may open it. The listener is there already; the login goes on once this returns, so
    /// that a browser which cannot be opened need not be the end.
    ///
    /// # Errors
    ///
    /// The user cannot be asked, which ends the login.
    async fn open(&self, url: &Url) -> Result<(), Box<dyn Error + Send + Sync>>;
}

const _: Option<&dyn Browser> = None;

impl BrowserLogin {
    /// A login as `client`, to which the provider sends the browser back at `redirect`: `http` on `127.0.0.1`, `[::1]` or
    /// `localhost`, where the latter listens on both addresses, as it may be either. Port 0 is any free one.
    ///
    /// # Errors
    ///
    /// `redirect` is something else.
    pub fn new(client: OAuthClient, redirect: Url, browser: Arc<dyn Browser>) -> Result<Self, OAuthError> {
        CallBack::addresses(&redirect)?;
        Ok(Self { client, redirect, browser, patience: PATIENCE, prompt: None })
    }

    /// Whether a redirect URL can be listened on right now.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_port_taken`], or it is none that a login can use.
    pub fn check_redirect(redirect: &Url) -> Result<(), OAuthError> {
        CallBack::try_bind(redirect).map(drop)
    }

    /// How long the user may take; five minutes unless something is said.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// What the provider must ask the user, whatever it knows already: one or more of `login`, `consent` and
    /// `select_account`, with spaces between them (`OpenID` Connect Core 1.0, section 3.1.2.1). A strict provider gives a
    /// refresh token only after `consent` (section 11); Auth0 does without.
    pub fn with_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = Some(prompt.into());
        self
    }

    /// Logs in.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_port_taken`] before anybody is asked; [`OAuthError::is_denied`], [`OAuthError::is_expired`],
    /// [`OAuthError::is_unverified`], [`OAuthError::is_unsupported`], or the provider could not be asked or understood. See
    /// [`OAuthError::issued_login`].
    pub async fn login(&self, request: &TokenRequest) -> Result<AccessToken, OAuthError> {
        let client = &self.client;
        let page = client.endpoints().authorization.clone().ok_or(OAuthError::unsupported("the browser login"))?;
        // First the listener, then the URL: nobody else can be sent the code meanwhile.
        let call_back = CallBack::bind(&self.redirect).await?;
        client.prepare_login().await?;
        let state = Secret::new(CsrfToken::new_random().into_secret());
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let url = self.page(page, &call_back, &state, &challenge, request);
        self.browser.open(&url).await.map_err(OAuthError::prompt)?;
        tracing::debug!(redirect = %call_back.redirect(), "waiting for the user to log in");
        let redirect = call_back.redirect().clone();
        let code = call_back.wait(&state, &client.endpoints().issuer, self.patience).await?;
        let verifier = Secret::new(verifier.secret());
        let exchange = || {
            let exchange = client.continued("authorization_code", request)?.with_secret("code", &code);
            Ok(exchange.with("redirect_uri", redirect.as_str()).with_secret("code_verifier", &verifier))
        };
        client.redeem_code(exchange).await
    }

    /// The URL at which the user logs in.
    fn page(
        &self,
        mut url: Url,
        call_back: &CallBack,
        state: &Secret,
        challenge: &PkceCodeChallenge,
        request: &TokenRequest,
    ) -> Url {
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", self.client.id())
            .append_pair("redirect_uri", call_back.redirect().as_str())
            .append_pair("state", state.expose())
            .append_pair("code_challenge", challenge.as_str())
            .append_pair("code_challenge_method", challenge.method().as_str());
        query.extend_pairs(self.client.wanted(request));
        query.extend_pairs(request.subject().map(|subject| ("login_hint", subject)));
        query.extend_pairs(self.prompt.iter().map(|prompt| ("prompt", prompt)));
        drop(query);
        // No parameter may be stated twice (RFC 6749, section 3.1); those of the login come first.
        let known: BTreeSet<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
        let additional = self.client.parameters().iter().filter(|(name, _)| !known.contains(name));
        url.query_pairs_mut().extend_pairs(additional);
        url
    }
}

#[async_trait]
impl AsyncTokenProvider for BrowserLogin {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.login(request).await.map_err(token_error)
    }

    fn is_interactive(&self) -> bool {
        true
    }
}
