//! Authorization for MCP servers that are not behind a gateway, as MCP describes it (2025-11-25, authorization).
//!
//! Each server names its authorization server. A server may be hostile, so its metadata is validated: see [`document`],
//! [`resource`] and [`issuer`]. The tokens of a server come from a [`TokenSource`](auth_core::TokenSource), whose
//! provider is a [`login`]. The [`authorizer`] sends requests, and handles 401 and 403 responses.

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

pub(crate) use authorizer::{Authorizer, Call, SendError, Settings, SharedSetup};
pub use error::AuthorizationError;
pub use interaction::{Interaction, LoginPage};
pub use registration::{ClientAuthentication, ClientRegistration, MemoryRegistrations, RegistrationStore};
pub(crate) use waiting::{LoginCounters, run_until_login, timeout_without_logins};

/// The default redirect URL of logins: any free port (RFC 8252, section 7.3).
const DEFAULT_REDIRECT: &str = "http://127.0.0.1:0/callback";
/// The default time limit of a login.
const DEFAULT_LOGIN_TIMEOUT: Duration = Duration::from_secs(300);
/// The maximum number of issuers for which locks and times of registrations are kept.
const MAX_ISSUERS: u64 = 256;
/// The default name of a client that is registered dynamically.
const DEFAULT_CLIENT_NAME: &str = "agent-gateway";

/// Credentials for MCP servers that have their own authorization servers: the user logs in at the authorization server
/// of each MCP server, when it requires a token.
///
/// | step | specification |
/// |---|---|
/// | A 401 response names the metadata of the server, or the metadata is at a well-known location. | RFC 9728, sections 3 and 5 |
/// | The metadata of the authorization server contains its endpoints. PKCE with S256 is required. | RFC 8414, section 3; RFC 7636 |
/// | The client was registered in advance ([`with_client`](Self::with_client)), has a metadata document ([`with_client_metadata`](Self::with_client_metadata)), or is registered dynamically. | RFC 7591, section 3 |
/// | The user logs in with a browser. The code is received on loopback. | RFC 6749, section 4.1; RFC 8252; RFC 9207 |
/// | All requests name the server as the resource of the token. | RFC 8707, section 2 |
/// | After a 403 with `insufficient_scope`, the user logs in once with all scopes. | RFC 6750, section 3.1 |
///
/// It is a [`CredentialSource`](crate::CredentialSource): pass it to [`Gateway::builder`](crate::Gateway::builder) with
/// a [`ServerDirectory`](crate::ServerDirectory), such as [`McpJson`](crate::McpJson). Tokens are stored in the cache
/// of the gateway, for each server, issuer, client and principal. Each user
/// ([`Principal::User`](crate::Principal::User)) has separate logins. The assertion of the user is not sent to servers.
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
    registration_locks: Cache<String, Arc<Mutex<()>>>,
    /// The time of the last deletion of a registration, for each issuer that has refused the client.
    deletion_times: Cache<String, Arc<std::sync::Mutex<Option<SystemTime>>>>,
    refresh_tokens: Vec<RefreshToken>,
    redirect: Option<Url>,
    login_timeout: Duration,
    account: Option<String>,
}

/// A refresh token for one server. Only its issuer receives it.
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

    /// Adds a client that is registered with an issuer. Every server that names this issuer uses the client: limit it
    /// with [`with_server`](ClientRegistration::with_server) if the gateway also has servers of other operators.
    pub fn with_client(self, client: ClientRegistration) -> Self {
        self.configure(|config| config.clients.push(client))
    }

    /// Sets the URL of the client's metadata document. The URL is the client id for authorization servers that support
    /// it (`client_id_metadata_document_supported`). The document must contain the redirect URL of logins.
    ///
    /// It is used only for authorization servers that name themselves in their responses
    /// (`authorization_response_iss_parameter_supported`). All of them share the redirect URL, so without the name, one
    /// server could receive the code of another.
    pub fn with_client_metadata(self, url: Url) -> Self {
        self.configure(|config| config.client_metadata = Some(url))
    }

    /// Sets the client name for dynamic registrations. Users see it when they log in. The default is `agent-gateway`.
    pub fn with_client_name(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.configure(|config| config.client_name = name)
    }

    /// Disables the dynamic registration of clients.
    pub fn without_registration(self) -> Self {
        self.configure(|config| config.is_registration_allowed = false)
    }

    /// Stores dynamic registrations in `store`. The default is the memory of this process.
    pub fn with_registrations(self, store: Arc<dyn RegistrationStore>) -> Self {
        self.configure(|config| config.registrations = store)
    }

    /// Sets the refresh token that `issuer` has issued for the MCP server at the URL `server`. It is sent only to this
    /// issuer, and used only for requests of the system. A refresh token belongs to a client: also call
    /// [`with_client`](Self::with_client).
    ///
    /// If the issuer rotates refresh tokens, only the cache of the gateway has the current one: use a persistent cache.
    pub fn with_refresh_token(self, server: Url, issuer: impl Into<String>, token: Secret) -> Self {
        let issuer = issuer.into();
        self.configure(|config| config.refresh_tokens.push(RefreshToken { server, issuer, token }))
    }

    /// Sets the redirect URL of logins, on loopback. The default is `http://127.0.0.1:0/callback` with any free port.
    ///
    /// In a dynamic registration, a digest of the issuer is appended to the path, so that the code of one issuer cannot
    /// arrive at the login of another.
    ///
    /// Set a fixed port for authorization servers that compare the port, although they must ignore it (RFC 8252,
    /// section 7.3).
    ///
    /// # Errors
    ///
    /// The URL is not `http` on `127.0.0.1`, `[::1]` or `localhost`.
    pub fn with_redirect(self, redirect: Url) -> Result<Self, AuthorizationError> {
        if redirect.scheme() != "http" || redirect.fragment().is_some() || !Authority::of(&redirect).is_loopback() {
            return Err(AuthorizationError::redirect(&redirect));
        }
        Ok(self.configure(|config| config.redirect = Some(redirect)))
    }

    /// Sets the time limit of a login. The default is five minutes. The time limits of the gateway do not include the
    /// time of a login.
    pub fn with_login_timeout(self, timeout: Duration) -> Self {
        self.configure(|config| config.login_timeout = timeout)
    }

    /// Sets the name of the account whose logins are used for the system. It is part of the token key, and required if
    /// the cache of the gateway is persistent.
    pub fn with_account(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.configure(|config| config.account = Some(name))
    }

    fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.0
    }
}

/// Compares pointers, because a credential source returns the same configuration at each read.
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
            client_name: DEFAULT_CLIENT_NAME.to_owned(),
            is_registration_allowed: true,
            registrations: Arc::new(MemoryRegistrations::default()),
            registration_locks: Cache::new(MAX_ISSUERS),
            deletion_times: Cache::builder().max_capacity(MAX_ISSUERS).eviction_policy(EvictionPolicy::lru()).build(),
            refresh_tokens: Vec::new(),
            redirect: None,
            login_timeout: DEFAULT_LOGIN_TIMEOUT,
            account: None,
        }
    }

    /// Returns true if the registration with `issuer`, which has refused the client, may be deleted now. Records the
    /// deletion: one is permitted in each period of the login limit.
    fn may_delete_registration(&self, issuer: &str, now: SystemTime) -> bool {
        let last_deletion = self.deletion_times.get_with_by_ref(issuer, Arc::default);
        let mut last_deletion = last_deletion.lock().unwrap_or_else(PoisonError::into_inner);
        let is_permitted = last_deletion.is_none_or(|time| time + prompts::PERIOD <= now);
        if is_permitted {
            *last_deletion = Some(now);
        }
        is_permitted
    }

    /// Returns the redirect URL. Port 0 means any free port.
    fn redirect(&self) -> Result<Url, AuthorizationError> {
        let default = || DEFAULT_REDIRECT.parse().map_err(|_| AuthorizationError::login_required());
        self.redirect.clone().map_or_else(default, Ok)
    }

    /// Returns the refresh token for a server, if it was issued by `issuer`.
    fn refresh_token(&self, server: &Url, issuer: &str) -> Option<&Secret> {
        let mut tokens = self.refresh_tokens.iter();
        tokens.find(|token| token.server == *server && token.issuer == issuer).map(|token| &token.token)
    }

    /// Returns the configured client for `issuer`: the client for `server`, or else the client for all servers.
    fn configured_client(&self, server: &Url, issuer: &str) -> Option<&ClientRegistration> {
        let with_limit = |limit: Option<&Url>| {
            self.clients.iter().find(|client| client.issuer() == issuer && client.server() == limit)
        };
        with_limit(Some(server)).or_else(|| with_limit(None))
    }

    /// Selects an issuer of a server: the first one with a configured client, or else the first one.
    fn preferred_issuer<'a>(&self, server: &Url, issuers: &'a [String]) -> Option<&'a String> {
        issuers.iter().find(|issuer| self.configured_client(server, issuer).is_some()).or(issuers.first())
    }
}
