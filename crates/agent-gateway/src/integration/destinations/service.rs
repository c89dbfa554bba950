//! Requests to the Destination service, for one binding.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenProvider, Authority, BearerPolicy, Clock, Destination, MemoryTokenCache, TokenError,
    TokenKey, TokenRequest, TokenSource,
};
use auth_http::{HttpClient, Request};
use auth_oauth::{ClientCredentials, Endpoints, OAuthClient};
use bytes::Bytes;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use url::Url;

use super::answer::{DestinationResponse, NoToken};
use super::binding::DestinationBinding;
use super::error::ServiceError;
use super::fragment::Fragment;
use super::{SYSTEM_TOKEN_LABEL, USE_LABEL, USER_TOKEN_LABEL};
use crate::credentials::CredentialError;
use crate::integration::encode_segment;
use crate::tenant::Tenant;

/// The path of the service below its URL.
const SERVICE_PATH: &str = "destination-configuration";
/// The level of the destination: the subaccount of the provider of the agent.
const DESTINATION_LEVEL: &str = "provider_subaccount";
/// The level of fragments: the instance of the tenant.
const FRAGMENT_LEVEL: &str = "instance";
/// The maximum size of a response, in bytes.
const MAX_RESPONSE_BYTES: usize = 4 * 1024 * 1024;
/// The time limit of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum number of tenants whose tokens and lists are cached. The least recently used one is removed first.
const MAX_TENANTS: u64 = 1024;
/// The maximum number of cached values of a tenant: one for each label, and one for the destination without a fragment.
const MAX_VALUES_PER_TENANT: u64 = 5;
/// The cache key of the destination without a fragment. Other keys are labels.
const NO_FRAGMENT: &str = "";

/// A service with the connections and tokens of one binding. Every cache key contains the tenant.
pub(super) struct Service {
    binding: DestinationBinding,
    destination: String,
    http: HttpClient,
    tokens: TokenSource,
    policy: BearerPolicy,
    clock: Arc<dyn Clock>,
    lifetime: Duration,
    permitted_origins: Vec<Authority>,
    fragments: ExpiringCache<Arc<Vec<Fragment>>>,
    urls: ExpiringCache<Option<Url>>,
}

/// A cache of values with their times of expiry, by tenant and label.
type ExpiringCache<V> = Cache<(Tenant, &'static str), (V, SystemTime)>;

/// The configuration of a service.
pub(super) struct ServiceSetup {
    pub(super) binding: DestinationBinding,
    pub(super) destination: String,
    pub(super) http: HttpClient,
    pub(super) plain_loopback: bool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lifetime: Duration,
    /// The origins that fragments may name, in addition to the origin of the destination.
    pub(super) permitted_origins: Vec<Authority>,
}

/// The permitted origins of the servers and gateways of a tenant. There is at least one. Fragments cannot change them.
pub(super) struct Origins(Vec<Authority>);

/// A provider of tokens for requests to the service. The tokens come from the token endpoint of the tenant.
#[derive(Debug)]
struct ServiceTokens {
    binding: DestinationBinding,
    http: HttpClient,
    clock: Arc<dyn Clock>,
}

impl Service {
    pub(super) fn new(setup: ServiceSetup) -> Self {
        let ServiceSetup { binding, destination, http, plain_loopback, clock, lifetime, permitted_origins } = setup;
        let service = Destination::new(Authority::of(binding.service_url()));
        let service = if plain_loopback { service.with_plain_loopback() } else { service };
        let provider = ServiceTokens { binding: binding.clone(), http: http.clone(), clock: clock.clone() };
        let cache = MemoryTokenCache::builder().with_max_client_tokens(MAX_TENANTS).with_clock(clock.clone()).build();
        let key = TokenKey::new(binding.service_url().as_str());
        let source = TokenSource::builder(key, provider).with_cache(Arc::new(cache)).with_clock(clock.clone());
        #[expect(clippy::expect_used, reason = "the cache is not persistent, and the provider needs no lease")]
        let tokens = source.build().expect("the parts fit together");
        Self {
            binding,
            destination,
            http,
            tokens,
            policy: BearerPolicy::new(service),
            clock,
            lifetime,
            permitted_origins,
            fragments: new_cache(),
            urls: new_cache(),
        }
    }

    pub(super) fn binding(&self) -> &DestinationBinding {
        &self.binding
    }

    /// Returns the identity of the tokens that this service obtains.
    pub(super) fn identity(&self) -> String {
        format!("destination {} {}", self.destination, self.binding.identity())
    }

    pub(super) fn evict(&self) {
        self.fragments.invalidate_all();
        self.urls.invalidate_all();
    }

    /// Returns the fragments of a tenant with a label.
    pub(super) async fn fragments(
        &self,
        tenant: &Tenant,
        label: &'static str,
    ) -> Result<Arc<Vec<Fragment>>, ServiceError> {
        if let Some(fragments) = self.cached(&self.fragments, tenant, label) {
            return Ok(fragments);
        }
        let mut url = self.endpoint("v1/instanceDestinationFragments");
        url.query_pairs_mut().append_pair("$filter", &format!("Label['{USE_LABEL}'] HAS ('{label}')"));
        let description = || format!("the fragments of the tenant {tenant} with the label `{label}`");
        let body = self.fetch_body(tenant, Request::get(url), description).await?;
        let fragments =
            Fragment::list(&body).map_err(|problem| ServiceError::Invalid { description: description(), problem })?;
        let fragments = Arc::new(fragments);
        self.store(&self.fragments, tenant, label, fragments.clone());
        Ok(fragments)
    }

    /// Returns the URL of the gateway for a tenant. It comes from the destination; a fragment of the tenant can change
    /// its path.
    pub(super) async fn gateway_url(&self, tenant: &Tenant, is_user: bool) -> Result<Url, ServiceError> {
        let (label, fragment) = self.token_fragment(tenant, is_user).await?;
        let url = self.destination_url(tenant, label, Some(&fragment)).await?;
        self.check_gateway(tenant, &fragment, url).await
    }

    /// Returns a token of a tenant, or of a user of the tenant in exchange for the assertion.
    pub(super) async fn token(
        &self,
        tenant: &Tenant,
        assertion: Option<&AccessToken>,
    ) -> Result<AccessToken, ServiceError> {
        let (label, fragment) = self.token_fragment(tenant, assertion.is_some()).await?;
        let response = self.fetch_destination(tenant, Some(&fragment), assertion, false).await?;
        self.store(&self.urls, tenant, label, response.url());
        let description = || format!("the tenant {tenant}");
        let url = response.url();
        let token = response.token(self.clock.now(), assertion).map_err(|problem| match problem {
            NoToken::Reason(reason) => ServiceError::NoToken { description: description(), reason },
            NoToken::Malformed(source) => ServiceError::Token { description: description(), source },
        })?;
        self.check_gateway(tenant, &fragment, url).await?;
        Ok(token)
    }

    /// Returns the URL of the destination, extended by a fragment. `key` is its key in the cache.
    async fn destination_url(
        &self,
        tenant: &Tenant,
        key: &'static str,
        fragment: Option<&str>,
    ) -> Result<Option<Url>, ServiceError> {
        if let Some(url) = self.cached(&self.urls, tenant, key) {
            return Ok(url);
        }
        let url = self.fetch_destination(tenant, fragment, None, true).await?.url();
        self.store(&self.urls, tenant, key, url.clone());
        Ok(url)
    }

    /// Returns the permitted origins of a tenant. The origin of the gateway comes from the destination without a
    /// fragment, because the destination belongs to the provider of the agent.
    pub(super) async fn origins(&self, tenant: &Tenant) -> Result<Origins, ServiceError> {
        let base = self.destination_url(tenant, NO_FRAGMENT, None).await?;
        let origins: Vec<_> = base.iter().map(Authority::of).chain(self.permitted_origins.iter().cloned()).collect();
        if origins.is_empty() { Err(missing_url(tenant)) } else { Ok(Origins(origins)) }
    }

    /// Returns `url`, the URL of the gateway in the destination with the fragment. Fails if its origin is not
    /// permitted.
    async fn check_gateway(&self, tenant: &Tenant, fragment: &str, url: Option<Url>) -> Result<Url, ServiceError> {
        let origins = self.origins(tenant).await?;
        let url = url.ok_or_else(|| missing_url(tenant))?;
        let url_owner = || format!("the gateway in the fragment `{fragment}` of the tenant {tenant}");
        origins.check(&url, url_owner).map_err(ServiceError::Gateway)?;
        Ok(url)
    }

    /// Returns the destination, extended by a fragment of the tenant.
    async fn fetch_destination(
        &self,
        tenant: &Tenant,
        fragment: Option<&str>,
        assertion: Option<&AccessToken>,
        skips_token: bool,
    ) -> Result<DestinationResponse, ServiceError> {
        let mut url =
            self.endpoint(&format!("v2/destinations/{}@{DESTINATION_LEVEL}", encode_segment(&self.destination)));
        if skips_token {
            url.query_pairs_mut().append_pair("$skipTokenRetrieval", "true");
        }
        let request = fragment.into_iter().fold(Request::get(url), |request, fragment| {
            request.with_header("x-fragment-name", format!("{fragment}@{FRAGMENT_LEVEL}"))
        });
        let request = assertion
            .into_iter()
            .fold(request, |request, assertion| request.with_header("x-user-token", assertion.secret().expose()));
        let description = || format!("the destination `{}` of the tenant {tenant}", self.destination);
        let body = self.fetch_body(tenant, request, description).await?;
        // The decoder's error message may show the response.
        let invalid = |_| ServiceError::Invalid {
            description: description(),
            problem: "it does not have the form of a destination",
        };
        serde_json::from_slice(&body).map_err(invalid)
    }

    /// Returns the label and the name of the fragment for tokens. Several fragments are an error, because the token
    /// could belong to the wrong client.
    pub(super) async fn token_fragment(
        &self,
        tenant: &Tenant,
        is_user: bool,
    ) -> Result<(&'static str, String), ServiceError> {
        let (tenant, label) = (tenant.clone(), if is_user { USER_TOKEN_LABEL } else { SYSTEM_TOKEN_LABEL });
        match &self.fragments(&tenant, label).await?[..] {
            [] => Err(ServiceError::NoFragment { tenant, label }),
            [only] => Ok((label, only.name.clone())),
            [first, second, ..] => {
                let (first, second) = (first.name.clone(), second.name.clone());
                Err(ServiceError::SeveralFragments { tenant, label, first, second })
            }
        }
    }

    /// Sends a request with the token of a tenant, and returns the body of the response.
    async fn fetch_body(
        &self,
        tenant: &Tenant,
        request: Request,
        description: impl Fn() -> String,
    ) -> Result<Bytes, ServiceError> {
        let http_error = |source| ServiceError::Http { description: description(), source };
        let client = self.http.authorized(self.policy.clone(), self.tokens.clone());
        let client = client.with_token_request(TokenRequest::new().with_tenant(tenant.as_str()));
        let request = request.with_header("accept", "application/json").with_timeout(REQUEST_TIMEOUT);
        let response = client.send(request).await.map_err(http_error)?;
        match response.status() {
            200 => response.bytes(MAX_RESPONSE_BYTES).await.map_err(http_error),
            status => Err(ServiceError::Status { description: description(), status }),
        }
    }

    /// Returns a URL of the service.
    fn endpoint(&self, path: &str) -> Url {
        let mut url = self.binding.service_url().clone();
        let root = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{root}/{SERVICE_PATH}/{path}"));
        url
    }

    fn cached<V: Clone + Send + Sync + 'static>(
        &self,
        cache: &ExpiringCache<V>,
        tenant: &Tenant,
        label: &'static str,
    ) -> Option<V> {
        let cached = cache.get(&(tenant.clone(), label));
        cached.filter(|(_, expires_at)| self.clock.now() < *expires_at).map(|(value, _)| value)
    }

    fn store<V: Clone + Send + Sync + 'static>(
        &self,
        cache: &ExpiringCache<V>,
        tenant: &Tenant,
        label: &'static str,
        value: V,
    ) {
        if let Some(expires_at) = self.clock.now().checked_add(self.lifetime) {
            cache.insert((tenant.clone(), label), (value, expires_at));
        }
    }
}

impl Origins {
    /// Returns an error if the origin of `url` is not permitted. `url_owner` names the server or gateway.
    pub(super) fn check(&self, url: &Url, url_owner: impl Fn() -> String) -> Result<(), CredentialError> {
        let origin = Authority::of(url);
        if self.0.contains(&origin) {
            Ok(())
        } else {
            Err(CredentialError::foreign_origin(url_owner(), &origin, &self.0))
        }
    }
}

/// Returns the error of a destination without a URL.
fn missing_url(tenant: &Tenant) -> ServiceError {
    let location = format!("the destination of the tenant {tenant}");
    ServiceError::Gateway(CredentialError::field(&location, "URL", "the https URL of the gateway"))
}

fn new_cache<V: Clone + Send + Sync + 'static>() -> ExpiringCache<V> {
    Cache::builder().max_capacity(MAX_TENANTS * MAX_VALUES_PER_TENANT).eviction_policy(EvictionPolicy::lru()).build()
}

#[async_trait]
impl AsyncTokenProvider for ServiceTokens {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let tenant = request.tenant().and_then(|tenant| Tenant::new(tenant).ok());
        let tenant = tenant.ok_or_else(|| TokenError::refused(ServiceError::NoTenant))?;
        let url = self.binding.token_url(&tenant);
        let url = url.ok_or_else(|| TokenError::refused(ServiceError::NoTokenUrl(tenant)))?;
        let client =
            OAuthClient::new(self.http.clone(), Endpoints::new(url.as_str(), url.clone()), self.binding.client_id())
                .with_secret_post(self.binding.secret().clone())
                .with_clock(self.clock.clone());
        // The host identifies the tenant, so the request needs no parameter for it.
        ClientCredentials::new(client).fetch(&TokenRequest::new()).await
    }

    fn identity(&self) -> Option<String> {
        Some(format!("destination service {}", self.binding.identity()))
    }
}
