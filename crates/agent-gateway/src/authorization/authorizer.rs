//! Requests to servers with their own authorization server.
//!
//! - The first request to a server has no token. A 401 leads to the discovery of its authorization server.
//! - A 401 to a token: it is refreshed once. If that one is rejected, too, or it has none, the
//!   metadata is read again, because the server may have changed its authorization server, and the user logs in once.
//!   Then the request fails, and later requests fail for a while without a login.
//! - A 403 with `insufficient_scope`: the user logs in once with the union of the scopes. They are used by later requests
//!   only if this succeeds.

use std::sync::{Arc, Mutex};

use auth_core::{AccessToken, BearerPolicy, TokenError, TokenRequest};
use auth_http::{HttpError, Request, Response};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use url::Url;

use super::access::{Access, Challenged, Source};
use super::challenge::Challenge;
use super::error::AuthorizationError;
use super::scopes::Scopes;
use super::state::{Principal, Server, lock};
use super::{Config, McpAuthorization};

pub(crate) use super::access::{Parts, Settings};

/// The maximum number of servers whose state is kept.
const MAX_SERVERS: u64 = 1024;

/// The tokens of all servers.
pub(crate) struct Authorizer {
    config: Arc<Config>,
    parts: Parts,
    servers: Cache<Url, Arc<Server>>,
}

/// A request to a server.
pub(crate) struct Call<'a> {
    pub(crate) server: &'a str,
    pub(crate) url: &'a Url,
    pub(crate) policy: &'a BearerPolicy,
    pub(crate) principal: &'a TokenRequest,
    /// True for a request that is not worth a login, such as the end of a session.
    pub(crate) is_optional: bool,
    pub(crate) request: &'a (dyn Fn() -> Request + Send + Sync),
}

/// The failure of a request.
#[derive(Debug)]
pub(crate) enum Failure {
    Authorization(AuthorizationError),
    Http(HttpError),
}

/// The progress of a request. Each step happens once.
struct Progress {
    access: Arc<Access>,
    scopes: Scopes,
    stage: Stage,
    is_stepped_up: bool,
}

/// The access before it is discovered again.
struct Before<'a> {
    access: &'a Arc<Access>,
    /// True if the source delays the next token, because two were rejected.
    is_paused: bool,
}

/// The last step after a token was rejected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    First,
    Refreshed,
    LoggedIn,
}

impl Authorizer {
    pub(crate) fn new(authorization: &McpAuthorization, parts: Parts) -> Self {
        let servers = Cache::builder().max_capacity(MAX_SERVERS).eviction_policy(EvictionPolicy::lru()).build();
        Self { config: authorization.config().clone(), parts, servers }
    }

    /// Sends a request with a token, if the server requires one, and returns the response head.
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Response, Failure> {
        let server = self.servers.get_with_by_ref(call.url, Arc::default);
        let access = if let Some(access) = server.access() {
            access
        } else {
            let response = self.parts.http.send((call.request)()).await?;
            if response.status() != 401 || call.is_optional {
                return Ok(response);
            }
            let challenge = Challenge::of(&response);
            drop(response);
            self.discover(&server, &call, &challenge, None).await?
        };
        let principal = server.principal(call.principal);
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
        server: &Server,
        access: Arc<Access>,
        call: &Call<'_>,
        principal: &Mutex<Principal>,
    ) -> Result<Response, Failure> {
        lock(principal).check(self.parts.settings.clock.now())?;
        let scopes = access.scopes(&lock(principal).scopes);
        let mut progress = Progress { access, scopes, stage: Stage::First, is_stepped_up: false };
        loop {
            let Progress { access, scopes, .. } = &progress;
            let source = access.source(call.principal);
            let request = access.token_request(call.principal, scopes);
            let client = self.parts.http.authorized(call.policy.clone(), source.tokens.clone());
            let client = client.with_token_request(request);
            let token = match client.token().await {
                Ok(token) => token,
                // Another request has been refused with a refreshed token.
                Err(error) if error.is_rejected() && source.login.is_possible() && progress.stage < Stage::LoggedIn => {
                    progress.stage = Stage::Refreshed;
                    self.renew(server, call, &mut progress, &Challenge::default()).await?;
                    continue;
                }
                Err(error) => return Err(self.without_token(server, access, source, error).await.into()),
            };
            let response = client.send_as(&token, (call.request)()).await?;
            match response.status() {
                401 => {
                    let challenge = Challenge::of(&response);
                    drop(response);
                    self.replace(server, call, principal, &mut progress, &token, &challenge).await?;
                }
                403 => {
                    let challenge = Challenge::of(&response);
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

    /// Sends a request with the last token, whatever the response.
    async fn send_optional(
        &self,
        access: &Access,
        call: &Call<'_>,
        principal: &Mutex<Principal>,
    ) -> Result<Response, Failure> {
        let accepted = lock(principal).accepted.clone();
        let Some(token) = accepted else { return Ok(self.parts.http.send((call.request)()).await?) };
        let client = self.parts.http.authorized(call.policy.clone(), access.source(call.principal).tokens.clone());
        let request = access.token_request(call.principal, &access.scopes(&lock(principal).scopes));
        Ok(client.with_token_request(request).send_as(&token, (call.request)()).await?)
    }

    /// Prepares the replacement of a token that the server has rejected.
    async fn replace(
        &self,
        server: &Server,
        call: &Call<'_>,
        principal: &Mutex<Principal>,
        progress: &mut Progress,
        token: &AccessToken,
        challenge: &Challenge,
    ) -> Result<(), AuthorizationError> {
        let login = &progress.access.source(call.principal).login;
        // The token of a login that the server has never accepted: another login would not help.
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
            lock(principal).reject(self.parts.settings.clock.now());
            return Err(AuthorizationError::rejected());
        }
        login.distrust(token);
        self.renew(server, call, progress, challenge).await
    }

    /// Reads the metadata again before a login.
    async fn renew(
        &self,
        server: &Server,
        call: &Call<'_>,
        progress: &mut Progress,
        challenge: &Challenge,
    ) -> Result<(), AuthorizationError> {
        let before = Before { access: &progress.access, is_paused: progress.stage == Stage::Refreshed };
        progress.access = self.discover(server, call, challenge, Some(before)).await?;
        progress.stage = Stage::LoggedIn;
        Ok(())
    }

    /// Maps a failure to obtain a token. A client that the authorization server refuses is registered again, but not soon
    /// after the last time.
    async fn without_token(
        &self,
        server: &Server,
        access: &Arc<Access>,
        source: &Source,
        error: TokenError,
    ) -> AuthorizationError {
        let registration = access.client.registration.as_ref().filter(|_| source.login.is_client_refused());
        if let Some(registration) = registration
            && self.config.may_delete(registration.issuer(), self.parts.settings.clock.now())
        {
            if let Err(error) = self.config.registrations.remove(registration).await {
                tracing::warn!(error, "the registration of the client cannot be deleted");
            }
            server.replace_if(access, None);
        }
        AuthorizationError::token(error)
    }

    /// Discovers the access to a server, unless another caller has done so since `before`.
    async fn discover(
        &self,
        server: &Server,
        call: &Call<'_>,
        challenge: &Challenge,
        before: Option<Before<'_>>,
    ) -> Result<Arc<Access>, AuthorizationError> {
        let _guard = server.discovering.lock().await;
        if let Some(current) = server.access()
            && before.as_ref().is_none_or(|before| !Arc::ptr_eq(before.access, &current))
        {
            return Ok(current);
        }
        let metadata = challenge.resource_metadata.as_deref();
        let (scopes, prompts) = (challenge.scopes()?, server.prompts.clone());
        let is_internal = challenge.is_internal;
        let challenged = Challenged { id: call.server, url: call.url, metadata, scopes, prompts, is_internal };
        let known = before.as_ref().map(|before| &**before.access);
        let access = Access::discover(&self.parts, &self.config, challenged, known).await?;
        if before.is_some_and(|before| before.is_paused) {
            access.source(call.principal).tokens.invalidate();
        }
        let access = Arc::new(access);
        server.replace(Some(access.clone()));
        Ok(access)
    }
}

/// Prepares a login with the scopes that the server requires in addition.
fn step_up(
    call: &Call<'_>,
    principal: &Mutex<Principal>,
    progress: &mut Progress,
    challenge: &Challenge,
) -> Result<(), AuthorizationError> {
    let required = challenge.scopes()?.unwrap_or_default();
    let mut principal = lock(principal);
    let failed = || Err(AuthorizationError::insufficient_scope(required.iter()));
    let known = progress.access.scopes(&principal.scopes);
    if progress.is_stepped_up || !progress.access.source(call.principal).login.is_possible() {
        return failed();
    }
    progress.is_stepped_up = true;
    // Another request has obtained them since.
    if known.includes(&required) && known != progress.scopes {
        progress.scopes = known;
        return Ok(());
    }
    if progress.scopes.includes(&required) {
        return failed();
    }
    let scopes = progress.scopes.union(&required);
    if !principal.may_request(&scopes) {
        return failed();
    }
    progress.scopes = scopes;
    Ok(())
}

impl From<AuthorizationError> for Failure {
    fn from(error: AuthorizationError) -> Self {
        Self::Authorization(error)
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}
