//! The provider of tokens for one server. It obtains them by the login of a user or by a refresh.

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
use super::prompts::PromptLimiter;
use super::waiting::{self, LoginCounters};
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
    /// The redirect URL. Port 0 means any free port.
    pub(super) redirect: Url,
    pub(super) clock: Arc<dyn Clock>,
    /// The refresh token from the configuration.
    pub(super) refresh_token: Option<Secret>,
    /// The limit of login prompts for the server.
    pub(super) prompts: PromptLimiter,
    /// The URL of the server.
    pub(super) url: Url,
    /// The logins in progress.
    pub(super) counters: LoginCounters,
    pub(super) state: LoginState,
}

#[derive(Debug, Default)]
pub(super) struct LoginState {
    /// The tokens of the last logins that the server has not accepted yet.
    unaccepted: Mutex<VecDeque<AccessToken>>,
    /// A rejected token that a new login must replace, because a refresh cannot help.
    login_required_for: Mutex<Option<AccessToken>>,
    /// True if the authorization server has refused the client in the last login.
    is_client_refused: AtomicBool,
}

/// A browser that passes the page of one login to the interaction.
#[derive(Debug)]
struct InteractionBrowser {
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

    /// Returns true if `token` comes from a login, and the server has not accepted it yet.
    pub(super) fn has_unaccepted(&self, token: &AccessToken) -> bool {
        let unaccepted = self.state.unaccepted.lock().unwrap_or_else(PoisonError::into_inner);
        unaccepted.iter().any(|issued| issued.is_same(token))
    }

    /// Records that the server has accepted `token`.
    pub(super) fn accept(&self, token: &AccessToken) {
        let mut unaccepted = self.state.unaccepted.lock().unwrap_or_else(PoisonError::into_inner);
        unaccepted.retain(|issued| !issued.is_same(token));
    }

    /// Marks `token`: a new login replaces it, not a refresh.
    pub(super) fn require_login_for(&self, token: &AccessToken) {
        *self.state.login_required_for.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
    }

    /// Returns true if the authorization server has refused the client in the last login.
    pub(super) fn is_client_refused(&self) -> bool {
        self.state.is_client_refused.load(Ordering::Acquire)
    }

    fn is_login_required_for(&self, token: &AccessToken) -> bool {
        let login_required_for = self.state.login_required_for.lock().unwrap_or_else(PoisonError::into_inner);
        login_required_for.as_ref().is_some_and(|login_required_for| login_required_for.is_same(token))
    }

    /// Lets the user log in.
    async fn log_in(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let interaction = self.config.interaction.clone().filter(|_| self.is_possible());
        let Some(interaction) = interaction else {
            return Err(TokenError::refused(AuthorizationError::login_required()));
        };
        let scopes: Vec<_> = request.scopes().map(str::to_owned).collect();
        let prompt = scopes.iter().any(|scope| scope == OFFLINE_ACCESS).then_some("consent");
        let browser = Arc::new(InteractionBrowser {
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
        self.prompts.record_login(request, self.clock.now()).map_err(TokenError::provider)?;
        self.state.is_client_refused.store(false, Ordering::Release);
        let active_login = waiting::ActiveLogin::start(&self.counters.counter(&self.url, request));
        let outcome = login.fetch(&issuer_request(request).with_scopes(request.scopes())).await;
        drop(active_login);
        let token = outcome.map_err(|error| self.map_login_error(request, error))?;
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
    fn map_login_error(&self, request: &TokenRequest, error: TokenError) -> TokenError {
        let Some(reason) = error.source_ref::<OAuthError>() else { return error };
        if reason.is_port_taken() {
            self.prompts.remove_last_login(request);
        }
        if reason.is_client_refused() {
            self.state.is_client_refused.store(true, Ordering::Release);
        }
        if reason.is_denied() || reason.is_expired() { TokenError::refused(error) } else { error }
    }

    /// Returns an error if the assertion of a request has expired.
    fn check_assertion(&self, request: &TokenRequest) -> Result<(), TokenError> {
        let end = request.assertion().and_then(AccessToken::expires_at);
        match end {
            Some(end) if end <= self.clock.now() => Err(TokenError::refused(AuthorizationError::assertion_expired())),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl AsyncTokenProvider for Login {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.check_assertion(request)?;
        match &self.refresh_token {
            Some(refresh_token) => {
                let grant = RefreshGrant::new(self.client.clone());
                let outcome = grant.redeem(refresh_token, &issuer_request(request)).await;
                outcome.map_err(map_refresh_error)
            }
            None => self.log_in(request).await,
        }
    }

    /// Redeems the refresh token. If the authorization server refuses it, or there is none, the user logs in again.
    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        self.check_assertion(request)?;
        if previous.refresh_token().is_none() || (self.is_possible() && self.is_login_required_for(previous)) {
            return self.log_in(request).await;
        }
        // No scopes are requested, because the login may have granted fewer than its request had.
        let outcome = UserLogin::new(self.client.clone()).refresh(&issuer_request(request), previous).await;
        match outcome {
            Err(error) if error.is_refused() && self.is_possible() => {
                tracing::info!(server = self.server, "the login cannot be refreshed");
                let is_final = error.is_grant_refused();
                let login = self.log_in(request).await;
                login.map_err(|error| if is_final { TokenError::grant_refused(error) } else { error })
            }
            outcome => outcome.map(|token| with_assertion_expiry(token, request)),
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
impl Browser for InteractionBrowser {
    async fn open(&self, url: &Url) -> Result<(), Box<dyn Error + Send + Sync>> {
        let Self { server, issuer, scopes, subject, .. } = self;
        tracing::info!(server, issuer, "a login is required");
        let (server, issuer) = (server.clone(), issuer.clone());
        let page = LoginPage { server, issuer, scopes: scopes.clone(), subject: subject.clone(), url: url.clone() };
        self.interaction.open(&page).await
    }
}

/// Returns a request with only the resource, for the authorization server. The subject and the assertion only identify
/// the login.
fn issuer_request(request: &TokenRequest) -> TokenRequest {
    request.resources().fold(TokenRequest::new(), TokenRequest::with_resource)
}

/// Maps the error of a configured refresh token.
fn map_refresh_error(error: OAuthError) -> TokenError {
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
