//! Requests to servers with their own authorization server.
//!
//! - The first request to a server has no token. After a 401, its authorization server is discovered.
//! - If the server rejects a token with 401, the token is refreshed once. If the server also rejects the new token, or
//!   without a refresh token, the metadata is read again, because the server may have changed its authorization
//!   server. Then the user logs in once. If the server also rejects the token of this login, the request fails, and
//!   later requests fail for a while without a login.
//! - After a 403 with `insufficient_scope`, the user logs in once with the union of the scopes. Later requests use
//!   these scopes only if the server accepts the token.

use std::sync::{Arc, Mutex};

use auth_core::{AccessToken, BearerPolicy, TokenError, TokenRequest};
use auth_http::{HttpError, Request, Response};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use url::Url;

use super::access::{Access, ChallengedServer, LoginSource};
use super::challenge::Challenge;
use super::error::AuthorizationError;
use super::scopes::Scopes;
use super::state::{PrincipalState, ServerState, lock};
use super::{Config, McpAuthorization};

pub(crate) use super::access::{Settings, SharedSetup};

/// The maximum number of servers whose state is kept.
const MAX_SERVERS: u64 = 1024;

/// The tokens of all servers.
pub(crate) struct Authorizer {
    config: Arc<Config>,
    shared: SharedSetup,
    servers: Cache<Url, Arc<ServerState>>,
}

/// A request to a server.
pub(crate) struct Call<'a> {
    pub(crate) server: &'a str,
    pub(crate) url: &'a Url,
    pub(crate) policy: &'a BearerPolicy,
    pub(crate) principal: &'a TokenRequest,
    /// True for a request that must not cause a login, such as the end of a session.
    pub(crate) is_optional: bool,
    pub(crate) request: &'a (dyn Fn() -> Request + Send + Sync),
}

/// The failure of a request.
#[derive(Debug)]
pub(crate) enum SendError {
    Authorization(AuthorizationError),
    Http(HttpError),
}

/// The progress of a request. Each step happens once.
struct RequestProgress {
    access: Arc<Access>,
    scopes: Scopes,
    stage: Stage,
    is_stepped_up: bool,
}

/// The access that a new discovery replaces.
struct OutdatedAccess<'a> {
    access: &'a Arc<Access>,
    /// True if the token source delays the next token, because the server has rejected two tokens.
    is_paused: bool,
}

/// The last recovery step after a rejected token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    First,
    Refreshed,
    LoggedIn,
}

impl Authorizer {
    pub(crate) fn new(authorization: &McpAuthorization, shared: SharedSetup) -> Self {
        let servers = Cache::builder().max_capacity(MAX_SERVERS).eviction_policy(EvictionPolicy::lru()).build();
        Self { config: authorization.config().clone(), shared, servers }
    }

    /// Sends a request with a token, if the server requires one, and returns the response head.
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Response, SendError> {
        let server = self.servers.get_with_by_ref(call.url, Arc::default);
        let access = if let Some(access) = server.access() {
            access
        } else {
            let response = self.shared.http.send((call.request)()).await?;
            if response.status() != 401 || call.is_optional {
                return Ok(response);
            }
            let challenge = Challenge::from_response(&response);
            drop(response);
            self.discover(&server, &call, &challenge, None).await?
        };
        let principal = server.principal_state(call.principal);
        if call.is_optional {
            return self.send_optional(&access, &call, &principal).await;
        }
        self.send_authorized(&server, access, &call, &principal).await
    }

    /// Deletes all tokens. The next requests discover the servers again.
    pub(crate) async fn clear(&self) -> Result<(), TokenError> {
        let mut outcome = Ok(());
        for (_, server) in &self.servers {
            if let Some(access) = server.replace(None) {
                outcome = outcome.and(access.clear().await);
            }
        }
        self.servers.invalidate_all();
        outcome
    }

    async fn send_authorized(
        &self,
        server: &ServerState,
        access: Arc<Access>,
        call: &Call<'_>,
        principal: &Mutex<PrincipalState>,
    ) -> Result<Response, SendError> {
        lock(principal).check_pause(self.shared.settings.clock.now())?;
        let scopes = access.login_scopes(&lock(principal).scopes);
        let mut progress = RequestProgress { access, scopes, stage: Stage::First, is_stepped_up: false };
        loop {
            let RequestProgress { access, scopes, .. } = &progress;
            let source = access.source_for(call.principal);
            let request = access.token_request(call.principal, scopes);
            let client = self.shared.http.authorized(call.policy.clone(), source.tokens.clone());
            let client = client.with_token_request(request);
            let token = match client.token().await {
                Ok(token) => token,
                // The server has rejected the refreshed token of another request.
                Err(error) if error.is_rejected() && source.login.is_possible() && progress.stage < Stage::LoggedIn => {
                    progress.stage = Stage::Refreshed;
                    self.rediscover(server, call, &mut progress, &Challenge::default()).await?;
                    continue;
                }
                Err(error) => return Err(self.map_token_error(server, access, source, error).await.into()),
            };
            let response = client.send_as(&token, (call.request)()).await?;
            match response.status() {
                401 => {
                    let challenge = Challenge::from_response(&response);
                    drop(response);
                    self.handle_rejection(server, call, principal, &mut progress, &token, &challenge).await?;
                }
                403 => {
                    let challenge = Challenge::from_response(&response);
                    if !challenge.is_insufficient_scope() {
                        return Ok(response);
                    }
                    step_up(call, principal, &mut progress, &challenge)?;
                }
                status => {
                    if status < 500 {
                        source.login.accept(&token);
                        let scopes = progress.is_stepped_up.then_some(progress.scopes);
                        lock(principal).accept(token, scopes);
                    }
                    return Ok(response);
                }
            }
        }
    }

    /// Sends a request with the last accepted token, if there is one. Returns the response even if the server rejects
    /// the token.
    async fn send_optional(
        &self,
        access: &Access,
        call: &Call<'_>,
        principal: &Mutex<PrincipalState>,
    ) -> Result<Response, SendError> {
        let accepted_token = lock(principal).accepted_token.clone();
        let Some(token) = accepted_token else { return Ok(self.shared.http.send((call.request)()).await?) };
        let client = self.shared.http.authorized(call.policy.clone(), access.source_for(call.principal).tokens.clone());
        let request = access.token_request(call.principal, &access.login_scopes(&lock(principal).scopes));
        Ok(client.with_token_request(request).send_as(&token, (call.request)()).await?)
    }

    /// Prepares the replacement of a token that the server has rejected.
    async fn handle_rejection(
        &self,
        server: &ServerState,
        call: &Call<'_>,
        principal: &Mutex<PrincipalState>,
        progress: &mut RequestProgress,
        token: &AccessToken,
        challenge: &Challenge,
    ) -> Result<(), AuthorizationError> {
        let login = &progress.access.source_for(call.principal).login;
        // If the server rejects the token of a new login, another login does not help.
        let is_new = login.has_unaccepted(token);
        if progress.stage == Stage::First && !is_new && token.refresh_token().is_some() {
            progress.stage = Stage::Refreshed;
            return Ok(());
        }
        if !login.is_possible() {
            let is_final = progress.stage != Stage::First || is_new || login.has_refresh_token();
            let error = if is_final { AuthorizationError::rejected() } else { AuthorizationError::login_required() };
            return Err(error);
        }
        if is_new || progress.stage == Stage::LoggedIn {
            lock(principal).reject(self.shared.settings.clock.now());
            return Err(AuthorizationError::rejected());
        }
        login.require_login_for(token);
        self.rediscover(server, call, progress, challenge).await
    }

    /// Reads the metadata again before a login.
    async fn rediscover(
        &self,
        server: &ServerState,
        call: &Call<'_>,
        progress: &mut RequestProgress,
        challenge: &Challenge,
    ) -> Result<(), AuthorizationError> {
        let outdated = OutdatedAccess { access: &progress.access, is_paused: progress.stage == Stage::Refreshed };
        progress.access = self.discover(server, call, challenge, Some(outdated)).await?;
        progress.stage = Stage::LoggedIn;
        Ok(())
    }

    /// Maps a failure to obtain a token. If the authorization server has refused a dynamically registered client,
    /// deletes the registration, at a limited rate, so that the next request registers the client again.
    async fn map_token_error(
        &self,
        server: &ServerState,
        access: &Arc<Access>,
        source: &LoginSource,
        error: TokenError,
    ) -> AuthorizationError {
        let registration = access.client.registration.as_ref().filter(|_| source.login.is_client_refused());
        if let Some(registration) = registration
            && self.config.may_delete_registration(registration.issuer(), self.shared.settings.clock.now())
        {
            if let Err(error) = self.config.registrations.remove(registration).await {
                tracing::warn!(error, "the registration of the client cannot be deleted");
            }
            server.replace_if(access, None);
        }
        AuthorizationError::token(error)
    }

    /// Discovers the access to a server, unless another caller has already replaced the `outdated` access.
    async fn discover(
        &self,
        server: &ServerState,
        call: &Call<'_>,
        challenge: &Challenge,
        outdated: Option<OutdatedAccess<'_>>,
    ) -> Result<Arc<Access>, AuthorizationError> {
        let _guard = server.discovery_lock.lock().await;
        if let Some(current) = server.access()
            && outdated.as_ref().is_none_or(|outdated| !Arc::ptr_eq(outdated.access, &current))
        {
            return Ok(current);
        }
        let metadata = challenge.resource_metadata.as_deref();
        let (scopes, prompts) = (challenge.scopes()?, server.prompts.clone());
        let is_internal = challenge.is_internal;
        let challenged_server =
            ChallengedServer { id: call.server, url: call.url, metadata, scopes, prompts, is_internal };
        let previous = outdated.as_ref().map(|outdated| &**outdated.access);
        let access = Access::discover(&self.shared, &self.config, challenged_server, previous).await?;
        if outdated.is_some_and(|outdated| outdated.is_paused) {
            access.source_for(call.principal).tokens.invalidate();
        }
        let access = Arc::new(access);
        server.replace(Some(access.clone()));
        Ok(access)
    }
}

/// Prepares a login with the additional scopes that the server requires.
fn step_up(
    call: &Call<'_>,
    principal: &Mutex<PrincipalState>,
    progress: &mut RequestProgress,
    challenge: &Challenge,
) -> Result<(), AuthorizationError> {
    let required = challenge.scopes()?.unwrap_or_default();
    let mut principal = lock(principal);
    let insufficient_scope = || AuthorizationError::insufficient_scope(required.iter());
    let current_scopes = progress.access.login_scopes(&principal.scopes);
    if progress.is_stepped_up || !progress.access.source_for(call.principal).login.is_possible() {
        return Err(insufficient_scope());
    }
    progress.is_stepped_up = true;
    // Another request has obtained the required scopes in the meantime.
    if current_scopes.includes(&required) && current_scopes != progress.scopes {
        progress.scopes = current_scopes;
        return Ok(());
    }
    if progress.scopes.includes(&required) {
        return Err(insufficient_scope());
    }
    let scopes = progress.scopes.union(&required);
    if !principal.may_request(&scopes) {
        return Err(insufficient_scope());
    }
    progress.scopes = scopes;
    Ok(())
}

impl From<AuthorizationError> for SendError {
    fn from(error: AuthorizationError) -> Self {
        Self::Authorization(error)
    }
}

impl From<HttpError> for SendError {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}
