//! Authorization for MCP servers that are not behind a gateway, as MCP describes it (2025-11-25, authorization).
//!
//! Each server names its authorization server, so nothing that it says is trusted: see [`document`], [`resource`] and
//! [`issuer`]. The tokens of a server are those of a [`TokenSource`](auth_core::TokenSource), whose provider is a
//! [`login`]. The [`authorizer`] sends requests, and reacts to 401 and 403.

mod access;
mod authorizer;
mod challenge;
mod client;
mod document;
mod error;
mod interaction;
mod issuer;
mod login;
mod members;
mod prompts;
mod registration;
mod resource;
mod scopes;
mod state;
mod waiting;
mod who;

use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use auth_core::{Authority, Secret};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Mutex;
use url::Url;

pub(crate) use authorizer::{Authorizer, Call, Failure, Parts, Settings};
pub use error::AuthorizationError;
pub use interaction::{Interaction, LoginPage};
pub use registration::{ClientAuthentication, ClientRegistration, MemoryRegistrations, RegistrationStore};
pub(crate) use waiting::{Logins, unless_login, within};

/// The default redirect URL of logins: any free port (RFC 8252, section 7.3).
const REDIRECT: &str = "http://127.0.0.1:0/callback";
/// The default time that the user has to log in.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(300);
/// The maximum number of issuers that register clients at the same time.
const MAX_ISSUERS: u64 = 256;
/// The default name of a client that is registered dynamically.
const CLIENT_NAME: &str = "agent-gateway";

/// Credentials for MCP servers that have their own authorization servers: the user logs in at the authorization server
/// of each MCP server, when it requires a token.
///
/// | step | specification |
/// |---|---|
/// | A 401 names the metadata of the server, or it is at a well-known location. | RFC 9728, sections 3 and 5 |
/// | The metadata of the authorization server has its endpoints. PKCE with S256 is required. | RFC 8414, section 3; RFC 7636 |
/// | The client is registered before ([`with_client`](Self::with_client)), has a metadata document ([`with_client_metadata`](Self::with_client_metadata)), or is registered now. | RFC 7591, section 3 |
/// | The user logs in with a browser. The code is received on loopback. | RFC 6749, section 4.1; RFC 8252; RFC 9207 |
/// | All requests name the server as the resource of the token. | RFC 8707, section 2 |
/// | A 403 with `insufficient_scope` leads to one login with all scopes. | RFC 6750, section 3.1 |
///
/// It is a [`CredentialSource`](crate::CredentialSource): pass it to [`Gateway::builder`](crate::Gateway::builder) with a
/// [`ServerDirectory`](crate::ServerDirectory), such as [`McpJson`](crate::McpJson). Tokens are stored in the cache of the
/// gateway, for each server, issuer, client and principal. A user ([`Principal::User`](crate::Principal::User)) has
/// separate logins, and the assertion of the user is not sent to servers.
///
/// ```no_run
/// use std::sync::{Arc, PoisonError};
/// use agent_gateway::{ClientRegistration, Gateway, McpAuthorization, McpJson};
///
/// # fn example(browser: Arc<dyn agent_gateway::Interaction>) {
/// let authorization = McpAuthorization::new(browser)
///     .with_client(ClientRegistration::new("https://issuer.example", "client-id"));
/// let gateway = Gateway::builder(authorization, McpJson::at(".mcp.json")).build();
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct McpAuthorization(Arc<Config>);

/// The configuration of the authorization for all servers.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    interaction: Option<Arc<dyn Interaction>>,
    clients: Vec<ClientRegistration>,
    client_metadata: Option<Url>,
    client_name: String,
    is_registration_allowed: bool,
    registrations: Arc<dyn RegistrationStore>,
    /// Locked while a client is registered with an issuer.
    registering: Cache<String, Arc<Mutex<()>>>,
    /// The times at which registrations were deleted, because their issuers refused the client.
    deleted: Cache<String, Arc<std::sync::Mutex<Option<SystemTime>>>>,
    refresh_tokens: Vec<RefreshToken>,
    redirect: Option<Url>,
    login_timeout: Duration,
    account: Option<String>,
}

/// A refresh token for one server, which only one issuer receives.
#[derive(Clone, Debug)]
struct RefreshToken {
    server: Url,
    issuer: String,
    token: Secret,
}

impl McpAuthorization {
    /// Creates an authorization whose users log in with `interaction`.
    pub fn new(interaction: Arc<dyn Interaction>) -> Self {
        Self(Arc::new(Config { interaction: Some(interaction), ..Config::headless() }))
    }

    /// Creates an authorization without logins, for machines without a user. Tokens come from refresh tokens
    /// ([`with_refresh_token`](Self::with_refresh_token)) and from earlier logins in the cache of the gateway.
    pub fn headless() -> Self {
        Self(Arc::new(Config::headless()))
    }

    /// Adds a client that is registered with an issuer. It is used for this issuer only, by every server that names the
    /// issuer: limit it with [`with_server`](ClientRegistration::with_server) if the gateway has servers of others.
    pub fn with_client(self, client: ClientRegistration) -> Self {
        self.with(|config| config.clients.push(client))
    }

    /// Sets the URL of the metadata of the client, which is its id for authorization servers that support it
    /// (`client_id_metadata_document_supported`). The document must contain the redirect URL of logins.
    ///
    /// It is used only for authorization servers that name themselves in their responses
    /// (`authorization_response_iss_parameter_supported`): all share the redirect URL, so that one could otherwise receive the
    /// code of another.
    pub fn with_client_metadata(self, url: Url) -> Self {
        self.with(|config| config.client_metadata = Some(url))
    }

    /// Sets the name of the client for dynamic registrations, which users see when they log in. The default is
    /// `agent-gateway`.
    pub fn with_client_name(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.with(|config| config.client_name = name)
    }

    /// Disables the dynamic registration of clients.
    pub fn without_registration(self) -> Self {
        self.with(|config| config.is_registration_allowed = false)
    }

    /// Stores dynamic registrations in `store`. The default is the memory of this process.
    pub fn with_registrations(self, store: Arc<dyn RegistrationStore>) -> Self {
        self.with(|config| config.registrations = store)
    }

    /// Sets the refresh token for the MCP server at the URL `server`, which was issued by `issuer`. It is sent to this
    /// issuer only, and used for requests of the system. A refresh token belongs to a client: also call
    /// [`with_client`](Self::with_client).
    ///
    /// If the issuer rotates refresh tokens, the next ones are in the cache of the gateway: use a persistent cache.
    pub fn with_refresh_token(self, server: Url, issuer: impl Into<String>, token: Secret) -> Self {
        let issuer = issuer.into();
        self.with(|config| config.refresh_tokens.push(RefreshToken { server, issuer, token }))
    }

    /// Sets the redirect URL of logins, on loopback. The default is `http://127.0.0.1:0/callback` with any free port.
    ///
    /// In a dynamic registration, a digest of the issuer is appended to the path, so that the code of one issuer cannot arrive
    /// at the login of another.
    ///
    /// Set a fixed port for authorization servers that compare the whole URL, although the port must be ignored (RFC
    /// 8252, section 7.3).
    ///
    /// # Errors
    ///
    /// The URL is not `http` on `127.0.0.1`, `[::1]` or `localhost`.
    pub fn with_redirect(self, redirect: Url) -> Result<Self, AuthorizationError> {
        if redirect.scheme() != "http" || redirect.fragment().is_some() || !Authority::of(&redirect).is_loopback() {
            return Err(AuthorizationError::redirect(&redirect));
        }
        Ok(self.with(|config| config.redirect = Some(redirect)))
    }

    /// Sets the time that the user has to log in. The default is five minutes. The time limits of the gateway do not
    /// include it.
    pub fn with_login_timeout(self, timeout: Duration) -> Self {
        self.with(|config| config.login_timeout = timeout)
    }

    /// Sets the name of the account whose logins are used for the system. It is part of the token key, and required if
    /// the cache of the gateway is persistent.
    pub fn with_account(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.with(|config| config.account = Some(name))
    }

    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.0
    }
}

/// Compares identities, because a source returns its own configuration again.
impl PartialEq for McpAuthorization {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for McpAuthorization {}

impl Config {
    fn headless() -> Self {
        Self {
            interaction: None,
            clients: Vec::new(),
            client_metadata: None,
            client_name: CLIENT_NAME.to_owned(),
            is_registration_allowed: true,
            registrations: Arc::new(MemoryRegistrations::default()),
            registering: Cache::new(MAX_ISSUERS),
            deleted: Cache::builder().max_capacity(MAX_ISSUERS).eviction_policy(EvictionPolicy::lru()).build(),
            refresh_tokens: Vec::new(),
            redirect: None,
            login_timeout: LOGIN_TIMEOUT,
            account: None,
        }
    }

    /// Returns true if the registration with `issuer` may be deleted now, which it has refused: once in the period for
    /// which logins are limited.
    fn may_delete(&self, issuer: &str, now: SystemTime) -> bool {
        let deleted = self.deleted.get_with_by_ref(issuer, Arc::default);
        let mut deleted = deleted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_possible = deleted.is_none_or(|time| time + prompts::PERIOD <= now);
        if is_possible {
            *deleted = Some(now);
        }
        is_possible
    }

    /// Returns the redirect URL, whose port may be 0.
    fn redirect(&self) -> Result<Url, AuthorizationError> {
        let default = || REDIRECT.parse().map_err(|_| AuthorizationError::login_required());
        self.redirect.clone().map_or_else(default, Ok)
    }

    /// Returns the refresh token for a server, if it was issued by `issuer`.
    fn refresh_token(&self, server: &Url, issuer: &str) -> Option<&Secret> {
        let mut tokens = self.refresh_tokens.iter();
        tokens.find(|token| token.server == *server && token.issuer == issuer).map(|token| &token.token)
    }

    /// Returns the client that was registered with `issuer` before, for `server` if there is one, or else for all servers.
    fn client(&self, server: &Url, issuer: &str) -> Option<&ClientRegistration> {
        let of = |limit: Option<&Url>| {
            self.clients.iter().find(|client| client.issuer() == issuer && client.server() == limit)
        };
        of(Some(server)).or_else(|| of(None))
    }

    /// Returns the issuer of a server that is used: the first one with a registered client, or else the first one.
    fn preferred<'a>(&self, server: &Url, issuers: &'a [String]) -> Option<&'a String> {
        issuers.iter().find(|issuer| self.client(server, issuer).is_some()).or(issuers.first())
    }
}
