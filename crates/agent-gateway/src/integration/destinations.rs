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
use crate::transport::shown;

pub use binding::DestinationBinding;
use error::ServiceError;
use fragment::{Fragment, Identity};
use service::{Service, Setup};

/// The label of fragments that determines their use, and its values.
const LABEL: &str = "sap-managed-runtime-type";
const MCP: &str = "agw.mcp.server";
const A2A: &str = "agw.a2a.server";
const IAS: &str = "subscriber.ias";
const IAS_USER: &str = "subscriber.ias.user";
/// The variable with the landscape, and the prefix of the destination of a landscape.
const LANDSCAPE: &str = "APPFND_CONHOS_LANDSCAPE";
const DESTINATION_PREFIX: &str = "sap-managed-runtime-ias-";
/// The default lifetime of what is read from the service.
const LIFETIME: Duration = Duration::from_secs(300);

/// Servers, agents and tokens of the tenants of an agent, from the Destination service: the source of agents that serve
/// several tenants. It is both a [`CredentialSource`] and a [`ServerDirectory`], and every principal needs a
/// [tenant](Principal::with_tenant).
///
/// | fragments of the tenant's instance with the label `sap-managed-runtime-type` | use |
/// |---|---|
/// | `agw.mcp.server` | an MCP server: its `URL` is the endpoint |
/// | `agw.a2a.server` | an A2A agent: its `URL` is that of the agent, and the card is below it |
/// | `subscriber.ias` | extends the destination for tokens of the system |
/// | `subscriber.ias.user` | extends the destination for tokens of users |
///
/// The destination belongs to the provider of the agent. The service merges it with the fragment of the tenant, whose
/// properties take priority, and obtains the token; a token of a user is obtained in exchange for the assertion.
///
/// The destination without a fragment determines the origin of the gateway. A fragment can change the path of the URL. If it
/// names another scheme, host or port, the server is not listed, and no token is returned
/// ([`CredentialError::is_foreign_origin`]), unless [`with_origin`](Self::with_origin) permits the origin.
///
/// Lists and URLs are cached for 300 s for each tenant. Nothing that is cached for one tenant is used for another.
#[derive(Clone)]
pub struct Destinations(Arc<Inner>);

struct Inner {
    /// The binding that the caller has given; `None` for that of the environment.
    binding: Option<DestinationBinding>,
    destination: String,
    http: HttpClientBuilder,
    plain_loopback: bool,
    clock: Arc<dyn Clock>,
    lifetime: Duration,
    origins: Vec<Authority>,
    current: Mutex<Option<Arc<Current>>>,
}

/// The service of the current binding. It is replaced when the binding changes.
struct Current {
    service: Arc<Service>,
    provider: Arc<dyn AsyncTokenProvider>,
}

/// The tokens that the service obtains.
struct DestinationTokens(Arc<Service>);

impl Destinations {
    /// Returns the destinations of a binding. `destination` is the name of the destination for tokens.
    pub fn new(binding: DestinationBinding, destination: impl Into<String>) -> Self {
        Self::with(Some(binding), destination.into())
    }

    /// Returns the destinations of the binding in this environment: see [`DestinationBinding::from_environment`]. It is read
    /// again while calls are made, so that a replaced secret takes effect. The destination is that of the landscape in
    /// `APPFND_CONHOS_LANDSCAPE`.
    ///
    /// # Errors
    ///
    /// The binding is missing or not valid, or the variable is not set.
    pub fn from_environment() -> Result<Self, CredentialError> {
        let landscape = env::var(LANDSCAPE).ok().filter(|name| !name.trim().is_empty());
        let landscape = landscape.ok_or(CredentialError::variable(LANDSCAPE))?;
        DestinationBinding::from_environment()?;
        Ok(Self::with(None, format!("{DESTINATION_PREFIX}{}", landscape.trim())))
    }

    /// Returns true if the environment names a landscape.
    pub(super) fn is_there() -> bool {
        env::var_os(LANDSCAPE).is_some_and(|name| !name.is_empty())
    }

    fn with(binding: Option<DestinationBinding>, destination: String) -> Self {
        Self(Arc::new(Inner {
            binding,
            destination,
            http: HttpClient::builder(),
            plain_loopback: false,
            clock: Arc::new(SystemClock),
            lifetime: LIFETIME,
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

    /// Permits servers and agents at the origin of `url`, in addition to that of the gateway. They receive the tokens.
    pub fn with_origin(self, url: &Url) -> Self {
        let origin = Authority::of(url);
        self.change(|inner| inner.origins.push(origin))
    }

    /// Returns the service of the current binding. If the binding cannot be read, for example because a file is being
    /// written, the previous one remains in use.
    async fn current(&self) -> Result<Arc<Current>, CredentialError> {
        let known = || self.0.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let binding = match (&self.0.binding, known()) {
            (Some(_), Some(current)) => return Ok(current),
            (Some(binding), None) => binding.clone(),
            (None, current) => {
                let reading = tokio::task::spawn_blocking(DestinationBinding::from_environment).await;
                let read =
                    reading.unwrap_or_else(|error| Err(CredentialError::other("the binding could not be read", error)));
                match (read, current) {
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
        let made = self.make(binding)?;
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        // Another caller may have made it first: both must use the same tokens.
        match &*current {
            Some(other) if other.service.binding() == made.service.binding() => Ok(other.clone()),
            _ => Ok(current.insert(made).clone()),
        }
    }

    fn make(&self, binding: DestinationBinding) -> Result<Arc<Current>, CredentialError> {
        let Inner { destination, http, plain_loopback, clock, lifetime, origins, .. } = &*self.0;
        let http = if *plain_loopback { http.clone().with_plain_loopback() } else { http.clone() };
        let http = http.build().map_err(|error| {
            CredentialError::other("the connections to the Destination service cannot be set up", error)
        })?;
        let service = Arc::new(Service::new(Setup {
            binding,
            destination: destination.clone(),
            http,
            plain_loopback: *plain_loopback,
            clock: clock.clone(),
            lifetime: *lifetime,
            permitted: origins.clone(),
        }));
        let provider = Arc::new(DestinationTokens(service.clone()));
        Ok(Arc::new(Current { service, provider }))
    }

    /// Lists the entries with a label, made from their URLs.
    async fn list<T>(
        &self,
        principal: &Principal,
        label: &'static str,
        make: impl Fn(Url, Identity) -> T,
    ) -> Result<Listed<T>, CredentialError> {
        let tenant = tenant(principal)?;
        let service = self.current().await?.service.clone();
        let fragments = service.fragments(tenant, label).await.map_err(ServiceError::into_credential_error)?;
        if fragments.is_empty() {
            return Ok(Vec::new().into());
        }
        // Without this fragment, there is no token for any of them.
        let is_user = matches!(principal, Principal::User(_));
        service.identity_fragment(tenant, is_user).await.map_err(ServiceError::into_credential_error)?;
        let origins = service.origins(tenant).await.map_err(ServiceError::into_credential_error)?;
        let entry = |fragment: &Fragment| {
            let place = format!("the fragment `{}` of the tenant {tenant}", fragment.name);
            let url = fragment.url(&place)?;
            let identity = fragment.identity(&url);
            origins.check(&url, || format!("the server `{}` in {place}", shown(&identity.id)))?;
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
        let server = |url, Identity { id, tenant }| Server::at(url, id, tenant).with_subscriber(subscriber.clone());
        self.list(principal, MCP, server).await
    }

    async fn agents_for(&self, principal: &Principal) -> Result<Listed<AgentAddress>, DirectoryError> {
        let subscriber = tenant(principal)?;
        let agent =
            |url, Identity { id, tenant }| AgentAddress::at(url, id, tenant).with_subscriber(subscriber.clone());
        self.list(principal, A2A, agent).await
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
