//! Destinations: servers, agents and tokens of the tenants of an agent, from the Destination service.

mod answer;
mod binding;
mod error;
mod fragment;
mod service;

use std::env;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Authority, Clock, SystemClock, TokenError, TokenRequest};
use auth_http::{HttpClient, HttpClientBuilder};
use url::Url;

use crate::credentials::{CredentialError, CredentialSource, Credentials};
use crate::principal::Principal;
use crate::server::{AgentAddress, DirectoryError, Listed, Server, ServerDirectory};
use crate::tenant::Tenant;
use crate::transport::sanitize;

pub use binding::DestinationBinding;
use error::ServiceError;
use fragment::{Fragment, ServerIdentity};
use service::{Service, ServiceSetup};

/// The label of fragments that determines their use.
const USE_LABEL: &str = "sap-managed-runtime-type";
/// The label value of fragments for MCP servers.
const SERVER_LABEL: &str = "agw.mcp.server";
/// The label value of fragments for A2A agents.
const AGENT_LABEL: &str = "agw.a2a.server";
/// The label value of fragments for tokens of the system.
const SYSTEM_TOKEN_LABEL: &str = "subscriber.ias";
/// The label value of fragments for tokens of users.
const USER_TOKEN_LABEL: &str = "subscriber.ias.user";
/// The variable with the landscape.
const LANDSCAPE_VARIABLE: &str = "APPFND_CONHOS_LANDSCAPE";
/// The prefix of the name of a landscape's destination.
const DESTINATION_PREFIX: &str = "sap-managed-runtime-ias-";
/// The default lifetime of cached lists and URLs.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);

/// Servers, agents and tokens of several tenants, from the Destination service. It is for agents that serve several
/// tenants. It is both a [`CredentialSource`] and a [`ServerDirectory`], and every principal needs a
/// [tenant](Principal::with_tenant).
///
/// | fragments of the tenant's instance with the label `sap-managed-runtime-type` | use |
/// |---|---|
/// | `agw.mcp.server` | an MCP server: its `URL` is the endpoint |
/// | `agw.a2a.server` | an A2A agent: its `URL` is the URL of the agent, and the card is below it |
/// | `subscriber.ias` | extends the destination for tokens of the system |
/// | `subscriber.ias.user` | extends the destination for tokens of users |
///
/// The destination belongs to the provider of the agent. The service merges it with the fragment of the tenant, and
/// obtains the token. The properties of the fragment take priority. A token of a user is obtained in exchange for the
/// assertion.
///
/// The destination without a fragment determines the origin of the gateway. A fragment can change the path of the URL.
/// If it names another scheme, host or port, the server is not listed, and no token is returned
/// ([`CredentialError::is_foreign_origin`]), unless [`with_origin`](Self::with_origin) permits the origin.
///
/// Lists and URLs are cached for 300 s. Each tenant has its own cache entries.
#[derive(Clone)]
pub struct Destinations(Arc<Inner>);

struct Inner {
    /// The binding of the caller, or `None` for the binding in the environment.
    binding: Option<DestinationBinding>,
    destination: String,
    http: HttpClientBuilder,
    plain_loopback: bool,
    clock: Arc<dyn Clock>,
    lifetime: Duration,
    origins: Vec<Authority>,
    current: Mutex<Option<Arc<CurrentService>>>,
}

/// The service of the current binding. It is replaced when the binding changes.
struct CurrentService {
    service: Arc<Service>,
    provider: Arc<dyn AsyncTokenProvider>,
}

/// The tokens that the service obtains.
struct DestinationTokens(Arc<Service>);

impl Destinations {
    /// Returns the destinations of a binding. Tokens come from the destination with the name `destination`.
    pub fn new(binding: DestinationBinding, destination: impl Into<String>) -> Self {
        Self::with_binding(Some(binding), destination.into())
    }

    /// Returns the destinations of the binding in the environment: see [`DestinationBinding::from_environment`]. The
    /// binding is read again while calls are made, so that a replaced secret takes effect. The variable
    /// `APPFND_CONHOS_LANDSCAPE` determines the destination for tokens.
    ///
    /// # Errors
    ///
    /// The binding is missing or not valid, or the variable is not set.
    pub fn from_environment() -> Result<Self, CredentialError> {
        let landscape = env::var(LANDSCAPE_VARIABLE).ok().filter(|name| !name.trim().is_empty());
        let landscape = landscape.ok_or(CredentialError::variable(LANDSCAPE_VARIABLE))?;
        DestinationBinding::from_environment()?;
        Ok(Self::with_binding(None, format!("{DESTINATION_PREFIX}{}", landscape.trim())))
    }

    /// Returns true if the environment names a landscape.
    pub(super) fn is_configured() -> bool {
        env::var_os(LANDSCAPE_VARIABLE).is_some_and(|name| !name.is_empty())
    }

    fn with_binding(binding: Option<DestinationBinding>, destination: String) -> Self {
        Self(Arc::new(Inner {
            binding,
            destination,
            http: HttpClient::builder(),
            plain_loopback: false,
            clock: Arc::new(SystemClock),
            lifetime: DEFAULT_LIFETIME,
            origins: Vec::new(),
            current: Mutex::default(),
        }))
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let Inner { binding, destination, http, plain_loopback, clock, lifetime, origins, .. } = &*self.0;
        let mut inner = Inner {
            binding: binding.clone(),
            destination: destination.clone(),
            http: http.clone(),
            plain_loopback: *plain_loopback,
            clock: clock.clone(),
            lifetime: *lifetime,
            origins: origins.clone(),
            current: Mutex::default(),
        };
        change(&mut inner);
        Self(Arc::new(inner))
    }

    /// Sets the options of connections to the service and to its authorization server.
    pub fn with_http(self, http: HttpClientBuilder) -> Self {
        self.change(|inner| inner.http = http)
    }

    /// Permits plain HTTP to loopback addresses, for tests.
    pub fn with_plain_loopback(self) -> Self {
        self.change(|inner| inner.plain_loopback = true)
    }

    /// Sets the clock that determines the lifetime of tokens and lists.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        self.change(|inner| inner.clock = clock)
    }

    /// Sets the lifetime of lists and URLs. The default is 300 s; 0 disables the cache.
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        self.change(|inner| inner.lifetime = lifetime)
    }

    /// Permits servers and agents at the origin of `url`, in addition to the origin of the gateway. They receive
    /// tokens.
    pub fn with_origin(self, url: &Url) -> Self {
        let origin = Authority::of(url);
        self.change(|inner| inner.origins.push(origin))
    }

    /// Returns the service of the current binding. If the binding cannot be read, for example because a file is being
    /// written, the previous one remains in use.
    async fn current(&self) -> Result<Arc<CurrentService>, CredentialError> {
        let cached = || self.0.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let binding = match (&self.0.binding, cached()) {
            (Some(_), Some(current)) => return Ok(current),
            (Some(binding), None) => binding.clone(),
            (None, current) => {
                let join_result = tokio::task::spawn_blocking(DestinationBinding::from_environment).await;
                let read_result = join_result
                    .unwrap_or_else(|error| Err(CredentialError::other("the binding could not be read", error)));
                match (read_result, current) {
                    (Ok(binding), Some(current)) if binding == *current.service.binding() => return Ok(current),
                    (Ok(binding), _) => binding,
                    (Err(error), Some(current)) => {
                        tracing::warn!(%error, "cannot use the current binding; the previous one remains in use");
                        return Ok(current);
                    }
                    (Err(error), None) => return Err(error),
                }
            }
        };
        let new_service = self.create_service(binding)?;
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        // If another caller was faster, both must use the same tokens.
        match &*current {
            Some(other) if other.service.binding() == new_service.service.binding() => Ok(other.clone()),
            _ => Ok(current.insert(new_service).clone()),
        }
    }

    fn create_service(&self, binding: DestinationBinding) -> Result<Arc<CurrentService>, CredentialError> {
        let Inner { destination, http, plain_loopback, clock, lifetime, origins, .. } = &*self.0;
        let http = if *plain_loopback { http.clone().with_plain_loopback() } else { http.clone() };
        let http = http.build().map_err(|error| {
            CredentialError::other("the connections to the Destination service cannot be set up", error)
        })?;
        let service = Arc::new(Service::new(ServiceSetup {
            binding,
            destination: destination.clone(),
            http,
            plain_loopback: *plain_loopback,
            clock: clock.clone(),
            lifetime: *lifetime,
            permitted_origins: origins.clone(),
        }));
        let provider = Arc::new(DestinationTokens(service.clone()));
        Ok(Arc::new(CurrentService { service, provider }))
    }

    /// Lists the entries with a label. `make` creates an entry from its URL and its identity.
    async fn list<T>(
        &self,
        principal: &Principal,
        label: &'static str,
        make: impl Fn(Url, ServerIdentity) -> T,
    ) -> Result<Listed<T>, CredentialError> {
        let tenant = tenant(principal)?;
        let service = self.current().await?.service.clone();
        let fragments = service.fragments(tenant, label).await.map_err(ServiceError::into_credential_error)?;
        if fragments.is_empty() {
            return Ok(Vec::new().into());
        }
        // Without this fragment, no token can be obtained for the entries.
        let is_user = matches!(principal, Principal::User(_));
        service.token_fragment(tenant, is_user).await.map_err(ServiceError::into_credential_error)?;
        let origins = service.origins(tenant).await.map_err(ServiceError::into_credential_error)?;
        let entry = |fragment: &Fragment| {
            let location = format!("the fragment `{}` of the tenant {tenant}", fragment.name);
            let url = fragment.url(&location)?;
            let identity = fragment.identity(&url);
            origins.check(&url, || format!("the server `{}` in {location}", sanitize(&identity.id)))?;
            Ok(make(url, identity))
        };
        let (mut entries, mut errors) = (Vec::new(), Vec::new());
        for entry in fragments.iter().map(entry) {
            match entry {
                Ok(entry) => entries.push(entry),
                Err(error) => errors.push(error),
            }
        }
        Ok(Listed::from(entries).with_errors(errors))
    }
}

/// Returns the tenant of a principal.
fn tenant(principal: &Principal) -> Result<&Tenant, CredentialError> {
    principal.tenant().ok_or_else(|| ServiceError::NoTenant.into_credential_error())
}

#[async_trait]
impl CredentialSource for Destinations {
    async fn credentials(&self) -> Result<Credentials, CredentialError> {
        Ok(Credentials::from_provider(self.current().await?.provider.clone()))
    }

    async fn gateway_url(&self, principal: &Principal) -> Result<Option<Url>, CredentialError> {
        let is_user = matches!(principal, Principal::User(_));
        let url = self.current().await?.service.gateway_url(tenant(principal)?, is_user).await;
        url.map(Some).map_err(ServiceError::into_credential_error)
    }
}

#[async_trait]
impl ServerDirectory for Destinations {
    /// Fails, because the servers depend on the tenant.
    async fn servers(&self) -> Result<Vec<Server>, DirectoryError> {
        Err(ServiceError::NoTenant.into_credential_error())
    }

    async fn servers_for(&self, principal: &Principal) -> Result<Listed<Server>, DirectoryError> {
        let subscriber = tenant(principal)?;
        let server =
            |url, ServerIdentity { id, tenant }| Server::at(url, id, tenant).with_subscriber(subscriber.clone());
        self.list(principal, SERVER_LABEL, server).await
    }

    async fn agents_for(&self, principal: &Principal) -> Result<Listed<AgentAddress>, DirectoryError> {
        let subscriber = tenant(principal)?;
        let agent =
            |url, ServerIdentity { id, tenant }| AgentAddress::at(url, id, tenant).with_subscriber(subscriber.clone());
        self.list(principal, AGENT_LABEL, agent).await
    }

    fn evict(&self) {
        if let Some(current) = &*self.0.current.lock().unwrap_or_else(PoisonError::into_inner) {
            current.service.evict();
        }
    }
}

#[async_trait]
impl AsyncTokenProvider for DestinationTokens {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let tenant = request.tenant().and_then(|tenant| Tenant::new(tenant).ok());
        let tenant = tenant.ok_or_else(|| TokenError::refused(ServiceError::NoTenant))?;
        self.0.token(&tenant, request.assertion()).await.map_err(ServiceError::into_token_error)
    }

    fn identity(&self) -> Option<String> {
        Some(self.0.identity())
    }
}

impl fmt::Debug for DestinationTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DestinationTokens({})", self.0.identity())
    }
}

impl fmt::Debug for Destinations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Destinations").field("destination", &self.0.destination).finish_non_exhaustive()
    }
}
