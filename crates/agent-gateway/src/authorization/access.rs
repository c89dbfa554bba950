//! The access to one server: its metadata, the client, and the source of its tokens.

use std::sync::Arc;

use auth_core::{
    AsyncTokenCache, AsyncTokenProvider, Clock, ExpiryPolicy, RefreshLease, SourceBuildError, TokenError, TokenKey,
    TokenRequest, TokenSource, TokenSourceBuilder,
};
use auth_http::{HttpClient, is_internal_host};
use url::Url;

use super::Config;
use super::client::{Client, ClientResolver};
use super::document::DocumentClient;
use super::error::AuthorizationError;
use super::issuer::{self, Issuer};
use super::login::{Login, LoginState, OFFLINE_ACCESS};
use super::prompts::PromptLimiter;
use super::resource::{self, Resource};
use super::scopes::Scopes;
use super::waiting::LoginCounters;

/// The settings of all token sources.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) plain_loopback: bool,
    pub(crate) cache: Arc<dyn AsyncTokenCache>,
    pub(crate) lease: Option<Arc<dyn RefreshLease>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) expiry: ExpiryPolicy,
    pub(crate) logins: LoginCounters,
}

/// The connections and the settings that all servers share.
#[derive(Clone)]
pub(crate) struct SharedSetup {
    pub(crate) http: HttpClient,
    /// Connections to public hosts only.
    pub(crate) public: HttpClient,
    pub(crate) settings: Settings,
}

impl Settings {
    /// Returns the source of the tokens of a provider.
    pub(crate) fn token_source(
        &self,
        key: TokenKey,
        provider: impl AsyncTokenProvider + 'static,
    ) -> Result<TokenSource, SourceBuildError> {
        let source = TokenSource::builder(key, provider).with_cache(self.cache.clone());
        let source = source.with_clock(self.clock.clone()).with_expiry(self.expiry);
        self.lease.iter().cloned().fold(source, TokenSourceBuilder::with_lease).build()
    }
}

/// The access to one server.
#[derive(Clone, Debug)]
pub(super) struct Access {
    /// The tokens of the system. A configured refresh token is used only for them.
    system: LoginSource,
    users: LoginSource,
    pub(super) client: Client,
    /// The identifier of the server, as published.
    resource: String,
    /// The scopes of the first login.
    scopes: Scopes,
    /// True if the server is at an internal address. Its authorization server may then also be at one.
    is_internal: bool,
}

/// A token source, and the login that is its provider.
#[derive(Clone, Debug)]
pub(super) struct LoginSource {
    pub(super) tokens: TokenSource,
    pub(super) login: Arc<Login>,
}

/// A server, and the content of its challenge.
pub(super) struct ChallengedServer<'a> {
    pub(super) id: &'a str,
    pub(super) url: &'a Url,
    /// The URL of its metadata.
    pub(super) metadata: Option<&'a str>,
    /// True if its response came from an internal address; `None` if this is not known.
    pub(super) is_internal: Option<bool>,
    pub(super) scopes: Option<Scopes>,
    pub(super) prompts: PromptLimiter,
}

impl Access {
    /// Discovers the access to a server. Returns a copy of `previous` if nothing has changed, so that its tokens remain
    /// in use.
    pub(super) async fn discover(
        shared: &SharedSetup,
        config: &Arc<Config>,
        server: ChallengedServer<'_>,
        previous: Option<&Self>,
    ) -> Result<Self, AuthorizationError> {
        // The address of the connection decides. A hostile server could resolve its own name to an internal address for
        // a moment, so that its metadata could name other internal addresses.
        let observed = server.is_internal.or(previous.map(|previous| previous.is_internal));
        let is_internal = observed.unwrap_or(false) || is_internal_host(server.url);
        let http = if is_internal { &shared.http } else { &shared.public };
        let documents = DocumentClient::new(http.clone(), shared.settings.plain_loopback, is_internal);
        let resource = resource::discover(&documents, server.url, server.metadata).await?;
        let issuer =
            config.preferred_issuer(server.url, &resource.issuers).ok_or_else(AuthorizationError::no_metadata)?;
        let issuer = issuer::discover(&documents, issuer).await?;
        let resolver =
            ClientResolver { config, server: server.url, documents: &documents, http, clock: &shared.settings.clock };
        let client = resolver.resolve(&issuer).await?;
        if let Some(unchanged) =
            previous.filter(|previous| previous.is_internal == is_internal && previous.has_same(&resource, &client))
        {
            return Ok(unchanged.clone());
        }
        Ok(Self { is_internal, ..Self::new(&shared.settings, config, server, resource, &issuer, client)? })
    }

    fn new(
        settings: &Settings,
        config: &Arc<Config>,
        server: ChallengedServer<'_>,
        resource: Resource,
        issuer: &Issuer,
        client: Client,
    ) -> Result<Self, AuthorizationError> {
        let refresh_token = config.refresh_token(server.url, issuer.id()).cloned();
        let has_refresh_token = refresh_token.is_some();
        let source = |refresh_token| {
            let login = Arc::new(Login {
                config: config.clone(),
                server: server.id.to_owned(),
                client: client.oauth.clone(),
                redirect: client.redirect.clone(),
                clock: settings.clock.clone(),
                refresh_token,
                prompts: server.prompts.clone(),
                url: server.url.clone(),
                counters: settings.logins.clone(),
                state: LoginState::default(),
            });
            let key = client.oauth.token_key().with_origin(server.url.as_str());
            let tokens = settings.token_source(key.build(), login.clone()).map_err(AuthorizationError::setup)?;
            Ok::<_, AuthorizationError>(LoginSource { tokens, login })
        };
        let system = source(refresh_token)?;
        let users = if has_refresh_token { source(None)? } else { system.clone() };
        let scopes = server.scopes.unwrap_or(resource.scopes);
        let scopes = if issuer.offers_offline_access { scopes.with_scope(OFFLINE_ACCESS) } else { scopes };
        Ok(Self { system, users, client, resource: resource.id, scopes, is_internal: false })
    }

    /// Returns the tokens of a principal.
    pub(super) fn source_for(&self, principal: &TokenRequest) -> &LoginSource {
        if principal.subject().is_none() { &self.system } else { &self.users }
    }

    /// Deletes all tokens.
    pub(super) async fn clear(&self) -> Result<(), TokenError> {
        self.system.tokens.clear().await.and(self.users.tokens.clear().await)
    }

    /// Returns true if this access has the same resource and client, so that its tokens are still usable.
    fn has_same(&self, resource: &Resource, client: &Client) -> bool {
        let is_same_login = self.client.redirect == client.redirect;
        let is_same_client = self.client.oauth.token_key().build() == client.oauth.token_key().build();
        self.resource == resource.id && is_same_client && is_same_login
    }

    /// Returns the scopes of a login: those of the first login, and the additional scopes that the server has required.
    pub(super) fn login_scopes(&self, additional: &Scopes) -> Scopes {
        self.scopes.union(additional)
    }

    /// Returns the request for the token of `principal`. With a configured refresh token, it has no scopes: all
    /// requests then use the same token, so that the refresh token is redeemed only once.
    pub(super) fn token_request(&self, principal: &TokenRequest, scopes: &Scopes) -> TokenRequest {
        let request = principal.clone().with_resource(self.resource.as_str());
        if self.source_for(principal).login.has_refresh_token() { request } else { request.with_scopes(scopes.iter()) }
    }
}
