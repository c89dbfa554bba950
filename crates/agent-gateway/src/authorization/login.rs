//! The provider of the tokens for one server, by the login of a user or by a refresh.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Clock, Secret, TokenError, TokenRequest};
use auth_oauth::{Browser, BrowserLogin, OAuthClient, OAuthError, RefreshGrant, UserLogin};
use url::Url;

use super::Config;
use super::error::AuthorizationError;
use super::interaction::{Interaction, LoginPage};
use super::prompts::Prompts;
use super::waiting::{self, Logins};
use crate::assertion::with_assertion_expiry;

/// The scope that requests a refresh token. `OpenID` providers require `prompt=consent` with it (`OpenID` Connect Core,
/// section 11).
pub(super) const OFFLINE_ACCESS: &str = "offline_access";

/// The maximum number of new tokens that are remembered until the server has accepted them.
const MAX_UNACCEPTED: usize = 64;

/// The logins for one server at its authorization server.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) config: Arc<Config>,
    /// The id of the server.
    pub(super) server: String,
    pub(super) client: OAuthClient,
    /// The redirect URL, whose port may be 0.
    pub(super) redirect: Url,
    pub(super) clock: Arc<dyn Clock>,
    /// The refresh token from the configuration.
    pub(super) refresh_token: Option<Secret>,
    /// The last logins of all principals at the server.
    pub(super) prompts: Prompts,
    /// The URL of the server.
    pub(super) url: Url,
    /// The logins in progress.
    pub(super) waiting: Logins,
    pub(super) state: State,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The last tokens that were issued for logins, until the server has accepted them.
    unaccepted: Mutex<VecDeque<AccessToken>>,
    /// A rejected token that a new login must replace, because the server rejected its refreshed successor, too.
    distrusted: Mutex<Option<AccessToken>>,
    /// True if the authorization server has refused the client in a login.
    is_client_refused: AtomicBool,
}

/// Shows the page of one login.
#[derive(Debug)]
struct Shown {
    interaction: Arc<dyn Interaction>,
    server: String,
    issuer: String,
    scopes: Vec<String>,
    subject: Option<String>,
}

impl Login {
    /// Returns true if a user can log in. With a configured refresh token, users do not log in.
    pub(super) fn is_possible(&self) -> bool {
        self.config.interaction.is_some() && self.refresh_token.is_none()
    }

    /// Returns true if a refresh token is configured.
    pub(super) fn has_refresh_token(&self) -> bool {
        self.refresh_token.is_some()
    }

    /// Returns true if `token` was issued for a login, and the server has never accepted it.
    pub(super) fn has_unaccepted(&self, token: &AccessToken) -> bool {
        let unaccepted = self.state.unaccepted.lock().unwrap_or_else(PoisonError::into_inner);
        unaccepted.iter().any(|issued| issued.is_same(token))
    }

    /// Records that the server has accepted `token`.
    pub(super) fn accept(&self, token: &AccessToken) {
        let mut unaccepted = self.state.unaccepted.lock().unwrap_or_else(PoisonError::into_inner);
        unaccepted.retain(|issued| !issued.is_same(token));
    }

    /// Marks `token`, so that a new login replaces it instead of a refresh.
    pub(super) fn distrust(&self, token: &AccessToken) {
        *self.state.distrusted.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
    }

    /// Returns true if the authorization server has refused the client in a login.
    pub(super) fn is_client_refused(&self) -> bool {
        self.state.is_client_refused.load(Ordering::Acquire)
    }

    fn is_distrusted(&self, token: &AccessToken) -> bool {
        let distrusted = self.state.distrusted.lock().unwrap_or_else(PoisonError::into_inner);
        distrusted.as_ref().is_some_and(|distrusted| distrusted.is_same(token))
    }

    /// Lets the user log in.
    async fn log_in(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let interaction = self.config.interaction.clone().filter(|_| self.is_possible());
        let Some(interaction) = interaction else {
            return Err(TokenError::refused(AuthorizationError::login_required()));
        };
        let scopes: Vec<_> = request.scopes().map(str::to_owned).collect();
        let prompt = scopes.iter().any(|scope| scope == OFFLINE_ACCESS).then_some("consent");
        let browser = Arc::new(Shown {
            interaction,
            server: self.server.clone(),
            issuer: self.client.endpoints().issuer.clone(),
            scopes,
            subject: request.subject().map(str::to_owned),
        });
        let login =
            BrowserLogin::new(self.client.clone(), self.redirect.clone(), browser).map_err(TokenError::refused)?;
        let login = login.with_timeout(self.config.login_timeout);
        let login = prompt.into_iter().fold(login, BrowserLogin::with_prompt);
        let login = UserLogin::new(self.client.clone()).with_browser(login);
        self.prompts.begin(request, self.clock.now()).map_err(TokenError::provider)?;
        self.state.is_client_refused.store(false, Ordering::Release);
        let waiting = waiting::Login::begin(&self.waiting.sender(&self.url, request));
        let outcome = login.fetch(&issuer_request(request).with_scopes(request.scopes())).await;
        drop(waiting);
        let token = outcome.map_err(|error| self.failed(request, error))?;
        self.remember(&token);
        Ok(with_assertion_expiry(token, request))
    }

    fn remember(&self, token: &AccessToken) {
        let mut unaccepted = self.state.unaccepted.lock().unwrap_or_else(PoisonError::into_inner);
        if unaccepted.len() == MAX_UNACCEPTED {
            unaccepted.pop_front();
        }
        unaccepted.push_back(token.clone().without_refresh_token());
    }

    /// Maps the error of a login. After a denied login, the user is not prompted again immediately.
    fn failed(&self, request: &TokenRequest, error: TokenError) -> TokenError {
        let Some(reason) = error.source_ref::<OAuthError>() else { return error };
        if reason.is_port_taken() {
            self.prompts.withdraw(request);
        }
        if reason.is_client_refused() {
            self.state.is_client_refused.store(true, Ordering::Release);
        }
        if reason.is_denied() || reason.is_expired() { TokenError::refused(error) } else { error }
    }

    fn check(&self, request: &TokenRequest) -> Result<(), TokenError> {
        let end = request.assertion().and_then(AccessToken::expires_at);
        match end {
            Some(end) if end <= self.clock.now() => Err(TokenError::refused(AuthorizationError::assertion_ended())),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl AsyncTokenProvider for Login {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.check(request)?;
        match &self.refresh_token {
            Some(refresh_token) => {
                let grant = RefreshGrant::new(self.client.clone());
                let redeemed = grant.redeem(refresh_token, &issuer_request(request)).await;
                redeemed.map_err(refused)
            }
            None => self.log_in(request).await,
        }
    }

    /// Redeems the refresh token. If the authorization server refuses it, or there is none, the user logs in again.
    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        self.check(request)?;
        if previous.refresh_token().is_none() || (self.is_possible() && self.is_distrusted(previous)) {
            return self.log_in(request).await;
        }
        // Without the scopes: the token has those of the login, which may be fewer than requested.
        let refreshed = UserLogin::new(self.client.clone()).refresh(&issuer_request(request), previous).await;
        match refreshed {
            Err(error) if error.is_refused() && self.is_possible() => {
                tracing::info!(server = self.server, "the login cannot be refreshed");
                let is_final = error.is_grant_refused();
                let login = self.log_in(request).await;
                login.map_err(|error| if is_final { TokenError::grant_refused(error) } else { error })
            }
            refreshed => refreshed.map(|token| with_assertion_expiry(token, request)),
        }
    }

    async fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        UserLogin::new(self.client.clone()).verify(token).await
    }

    fn identity(&self) -> Option<String> {
        let account = self.config.account.as_ref().map(|account| format!("mcp_login {account}"));
        let initial = || {
            let token = self.refresh_token.clone()?;
            RefreshGrant::new(self.client.clone()).with_refresh_token(token).identity()
        };
        account.or_else(initial)
    }

    fn needs_lease(&self) -> bool {
        true
    }

    fn initial_credential(&self) -> Option<Secret> {
        self.refresh_token.clone()
    }

    fn is_interactive(&self) -> bool {
        self.is_possible()
    }

    fn announces_redemption(&self) -> bool {
        true
    }
}

#[async_trait]
impl Browser for Shown {
    async fn open(&self, url: &Url) -> Result<(), Box<dyn Error + Send + Sync>> {
        let Self { server, issuer, scopes, subject, .. } = self;
        tracing::info!(server, issuer, "a login is required");
        let (server, issuer) = (server.clone(), issuer.clone());
        let page = LoginPage { server, issuer, scopes: scopes.clone(), subject: subject.clone(), url: url.clone() };
        self.interaction.open(&page).await
    }
}

/// Returns the part of a request that the authorization server receives: the resource. The subject and the assertion only
/// identify the login.
fn issuer_request(request: &TokenRequest) -> TokenRequest {
    request.resources().fold(TokenRequest::new(), TokenRequest::with_resource)
}

/// Maps the error of a configured refresh token.
fn refused(error: OAuthError) -> TokenError {
    if error.is_credential_refused() {
        return TokenError::grant_refused(error);
    }
    if error.is_uncertain() {
        return TokenError::uncertain(error);
    }
    let (is_transient, retry_after) = (error.is_transient(), error.retry_after());
    let error = TokenError::provider(error);
    let error = retry_after.into_iter().fold(error, TokenError::with_retry_after);
    if is_transient { error.into_transient() } else { error }
}
