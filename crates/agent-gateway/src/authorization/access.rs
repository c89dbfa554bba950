//! The access to one server: its metadata, the client, and the source of its tokens.

use std::sync::Arc;

use auth_core::{
    AsyncTokenCache, AsyncTokenProvider, Clock, ExpiryPolicy, RefreshLease, SourceBuildError, TokenError, TokenKey,
    TokenRequest, TokenSource, TokenSourceBuilder,
};
use auth_http::{HttpClient, is_internal_host};
use url::Url;

use super::Config;
use super::client::{Client, Identification};
use super::document::Documents;
use super::error::AuthorizationError;
use super::issuer::{self, Issuer};
use super::login::{Login, OFFLINE_ACCESS, State};
use super::prompts::Prompts;
use super::resource::{self, Resource};
use super::scopes::Scopes;
use super::waiting::Logins;

/// The stores and limits of all tokens.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) plain_loopback: bool,
    pub(crate) cache: Arc<dyn AsyncTokenCache>,
    pub(crate) lease: Option<Arc<dyn RefreshLease>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) expiry: ExpiryPolicy,
    pub(crate) logins: Logins,
}

/// The connections and settings that all servers share.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) http: HttpClient,
    /// Connections to public hosts only.
    pub(crate) public: HttpClient,
    pub(crate) settings: Settings,
}

impl Settings {
    /// Returns the source of the tokens of a provider.
    pub(crate) fn source(
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
    /// The tokens of the system. Only they may come from a configured refresh token.
    system: Source,
    users: Source,
    pub(super) client: Client,
    /// The identifier of the server, as published.
    resource: String,
    /// The scopes that are requested first.
    scopes: Scopes,
    /// True if the server is at an internal address, so that its authorization server may be, too.
    is_internal: bool,
}

/// The tokens of some principals, and their logins.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) tokens: TokenSource,
    pub(super) login: Arc<Login>,
}

/// A server, and the metadata that its challenge names.
pub(super) struct Challenged<'a> {
    pub(super) id: &'a str,
    pub(super) url: &'a Url,
    pub(super) metadata: Option<&'a str>,
    /// True if its response came from an internal address; `None` if this is not known.
    pub(super) is_internal: Option<bool>,
    pub(super) scopes: Option<Scopes>,
    pub(super) prompts: Prompts,
}

impl Access {
    /// Discovers the access to a server. If nothing has changed since `before`, its tokens remain in use.
    pub(super) async fn discover(
        parts: &Parts,
        config: &Arc<Config>,
        server: Challenged<'_>,
        before: Option<&Self>,
    ) -> Result<Self, AuthorizationError> {
        // Decided by the connection, because a server could resolve its own name to an internal address for a moment, so that
        // its metadata may name others.
        let known = server.is_internal.or(before.map(|before| before.is_internal));
        let is_internal = known.unwrap_or(false) || is_internal_host(server.url);
        let http = if is_internal { &parts.http } else { &parts.public };
        let documents = Documents::new(http.clone(), parts.settings.plain_loopback, is_internal);
        let resource = resource::discover(&documents, server.url, server.metadata).await?;
        let issuer = config.preferred(server.url, &resource.issuers).ok_or_else(AuthorizationError::no_metadata)?;
        let issuer = issuer::discover(&documents, issuer).await?;
        let identification =
            Identification { config, server: server.url, documents: &documents, http, clock: &parts.settings.clock };
        let client = identification.client(&issuer).await?;
        if let Some(same) =
            before.filter(|before| before.is_internal == is_internal && before.is_same(&resource, &client))
        {
            return Ok(same.clone());
        }
        Ok(Self { is_internal, ..Self::new(&parts.settings, config, server, resource, &issuer, client)? })
    }

    fn new(
        settings: &Settings,
        config: &Arc<Config>,
        server: Challenged<'_>,
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
                waiting: settings.logins.clone(),
                state: State::default(),
            });
            let key = client.oauth.token_key().with_origin(server.url.as_str());
            let tokens = settings.source(key.build(), login.clone()).map_err(AuthorizationError::setup)?;
            Ok::<_, AuthorizationError>(Source { tokens, login })
        };
        let system = source(refresh_token)?;
        let users = if has_refresh_token { source(None)? } else { system.clone() };
        let scopes = server.scopes.unwrap_or(resource.scopes);
        let scopes = if issuer.offers_offline_access { scopes.with(OFFLINE_ACCESS) } else { scopes };
        Ok(Self { system, users, client, resource: resource.id, scopes, is_internal: false })
    }

    /// Returns the tokens of a principal.
    pub(super) fn source(&self, principal: &TokenRequest) -> &Source {
        if principal.subject().is_none() { &self.system } else { &self.users }
    }

    /// Deletes all tokens.
    pub(super) async fn clear(&self) -> Result<(), TokenError> {
        self.system.tokens.clear().await.and(self.users.tokens.clear().await)
    }

    /// Returns true if tokens for this resource and client are those of this access.
    fn is_same(&self, resource: &Resource, client: &Client) -> bool {
        let is_same_login = self.client.redirect == client.redirect;
        let is_same_client = self.client.oauth.token_key().build() == client.oauth.token_key().build();
        self.resource == resource.id && is_same_client && is_same_login
    }

    /// Returns the scopes with which a user logs in, if the server has required these additional ones.
    pub(super) fn scopes(&self, additional: &Scopes) -> Scopes {
        self.scopes.union(additional)
    }

    /// Returns the request for the token of `principal`. A configured refresh token has the scopes of its login, so that
    /// it is presented for one request only.
    pub(super) fn token_request(&self, principal: &TokenRequest, scopes: &Scopes) -> TokenRequest {
        let request = principal.clone().with_resource(self.resource.as_str());
        if self.source(principal).login.has_refresh_token() { request } else { request.with_scopes(scopes.iter()) }
    }
}
