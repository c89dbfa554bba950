//! The OAuth client: its configuration, and the parts that all its requests share.

mod assertion;
mod authentication;
mod issued;
mod parameters;
mod retries;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth_core::{AccessToken, Clock, Secret, SystemClock, TokenError, TokenKey, TokenKeyBuilder};
use auth_http::retry::RetryPolicy;
use auth_http::{HttpClient, HttpError};
use url::Url;

use crate::exchange::{FormRequest, FormResponse};
use crate::limits::TIMEOUT;
use crate::{Endpoints, JwtVerifier, OAuthError};

pub use assertion::{AssertionAudience, PrivateKey, PrivateKeyError};
pub(crate) use authentication::Authentication;

/// The tolerated difference between the local clock and the clock of the provider. It equals the default leeway of the
/// verifier. If the difference is larger, the times of a token are compared with the clock of the provider.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// An OAuth client: its id, its authentication method, the endpoints of the provider, and default parameters. All
/// grants are created from a client. Clones are cheap.
///
/// ```
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use auth_core::Secret;
/// use auth_http::HttpClient;
/// use auth_oauth::{ClientCredentials, Endpoints, OAuthClient};
///
/// let endpoints = Endpoints::auth0(&"https://issuer.example/".parse()?)?;
/// let client = OAuthClient::new(HttpClient::builder().build()?, endpoints, "a-machine")
///     .with_secret_basic(Secret::new("its secret"))
///     .with_audience("https://platform.example");
/// let grant = ClientCredentials::new(client);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct OAuthClient(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    http: HttpClient,
    endpoints: Endpoints,
    id: String,
    authentication: Authentication,
    assertion_audience: AssertionAudience,
    audience: Option<String>,
    organization: Option<String>,
    resources: Vec<Url>,
    scopes: Vec<String>,
    parameters: Vec<(String, String)>,
    verifier: Option<JwtVerifier>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    retry: Option<RetryPolicy>,
}

impl OAuthClient {
    /// Creates a public client, which does not authenticate itself.
    pub fn new(http: HttpClient, endpoints: Endpoints, id: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            http,
            endpoints,
            id: id.into(),
            authentication: Authentication::None,
            assertion_audience: AssertionAudience::default(),
            audience: None,
            organization: None,
            resources: Vec::new(),
            scopes: Vec::new(),
            parameters: Vec::new(),
            verifier: None,
            clock: Arc::new(SystemClock),
            timeout: TIMEOUT,
            retry: None,
        }))
    }

    /// Authenticates the client by a secret in the header (`client_secret_basic`; RFC 6749, section 2.3.1).
    pub fn with_secret_basic(self, secret: Secret) -> Self {
        self.with(|inner| inner.authentication = Authentication::SecretBasic(secret))
    }

    /// Authenticates the client by a secret in the form (`client_secret_post`; RFC 6749, section 2.3.1).
    pub fn with_secret_post(self, secret: Secret) -> Self {
        self.with(|inner| inner.authentication = Authentication::SecretPost(secret))
    }

    /// Authenticates the client by a signed JWT (`private_key_jwt`; RFC 7523, section 2.2).
    pub fn with_private_key(self, key: PrivateKey) -> Self {
        self.with(|inner| inner.authentication = Authentication::PrivateKeyJwt(key))
    }

    /// Sets the audience of the JWT with which the client authenticates (see
    /// [`with_private_key`](Self::with_private_key)). The default is the issuer.
    pub fn with_assertion_audience(self, audience: AssertionAudience) -> Self {
        self.with(|inner| inner.assertion_audience = audience)
    }

    /// Authenticates the client by the certificate of the HTTP client (RFC 8705, section 2). Set it with
    /// `auth_http::HttpClientBuilder::with_client_certificate`.
    ///
    /// Requests are sent to the mutual TLS endpoints of the provider, if it has any.
    pub fn with_mutual_tls(self) -> Self {
        self.with(|inner| inner.authentication = Authentication::MutualTls)
    }

    /// Sets the audience of tokens (the parameter `audience` of Auth0).
    pub fn with_audience(self, audience: impl Into<String>) -> Self {
        self.with(|inner| inner.audience = Some(audience.into()))
    }

    /// Sets the organization for which a user logs in (the parameter `organization` of Auth0).
    pub fn with_organization(self, organization: impl Into<String>) -> Self {
        self.with(|inner| inner.organization = Some(organization.into()))
    }

    /// Adds a resource that tokens are meant for (RFC 8707).
    pub fn with_resource(self, resource: Url) -> Self {
        self.with(|inner| inner.resources.push(resource))
    }

    /// Sets the scopes of tokens.
    pub fn with_scopes<S: Into<String>>(self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.with(|inner| inner.scopes = scopes.into_iter().map(Into::into).collect())
    }

    /// Adds a parameter to every authorization request, device authorization request and token request, including
    /// refreshes.
    ///
    /// The parameter is not secret. It is part of the token key.
    pub fn with_parameter(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|inner| inner.parameters.push((name.into(), value.into())))
    }

    /// Sets a verifier. The client then returns only access tokens that `verifier` accepts.
    pub fn with_verifier(self, verifier: JwtVerifier) -> Self {
        self.with(|inner| inner.verifier = Some(verifier))
    }

    /// Sets the clock for the expiry of tokens. The default is the system clock.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        self.with(|inner| inner.clock = clock)
    }

    /// Sets the timeout of a request to the provider. The default is 30 s.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        self.with(|inner| inner.timeout = timeout)
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Returns this client with another id.
    pub(crate) fn with_id(self, id: String) -> Self {
        self.with(|inner| inner.id = id)
    }

    /// Returns this client with another HTTP client.
    pub(crate) fn with_http(self, http: HttpClient) -> Self {
        self.with(|inner| inner.http = http)
    }

    /// Returns this client with another id and without authentication, as a public client.
    pub fn as_public_client(self, id: impl Into<String>) -> Self {
        self.with_id(id.into()).with(|inner| inner.authentication = Authentication::None)
    }

    /// Sets the token endpoint.
    pub fn with_token_url(self, url: Url) -> Self {
        self.with(|inner| inner.endpoints.token = url)
    }

    /// Returns the client id.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Returns the endpoints of the provider.
    pub fn endpoints(&self) -> &Endpoints {
        &self.0.endpoints
    }

    /// Returns a builder for the key under which the tokens of this client are stored.
    ///
    /// The key contains all properties of the client on which its tokens depend. The token source adds the identity of
    /// the grant.
    pub fn token_key(&self) -> TokenKeyBuilder {
        let Inner { http, endpoints, id, audience, organization, resources, scopes, parameters, .. } = &*self.0;
        let key = TokenKey::builder(&endpoints.issuer).with_client_id(id).with_scopes(scopes);
        let key = key.with_resources(resources.iter().map(Url::as_str)).with_parameters(parameters.iter().cloned());
        let key = key.with_token_endpoint(self.token_endpoint());
        let key = audience.iter().fold(key, TokenKeyBuilder::with_audience);
        let key = http.certificate_thumbprint().into_iter().fold(key, TokenKeyBuilder::with_certificate_thumbprint);
        organization.iter().fold(key, TokenKeyBuilder::with_tenant)
    }

    /// Returns the identity of a grant of this client. It begins with the grant and the client id, and contains a
    /// digest of all properties on which a token depends. `principal` is a further property of the grant, such as a
    /// subject.
    pub(crate) fn identity(&self, grant: &str, principal: Option<&str>) -> String {
        let key = self.token_key().with_identity(grant);
        let key = principal.into_iter().fold(key, TokenKeyBuilder::with_subject).build();
        format!("{grant} client={} {}", self.id(), key.digest_hex())
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// Adds the client authentication to a request.
    pub(crate) fn with_authentication(&self, form: FormRequest) -> Result<FormRequest, OAuthError> {
        let Inner { authentication, assertion_audience, id, endpoints, clock, timeout, .. } = &*self.0;
        let audience = match assertion_audience {
            AssertionAudience::Issuer => endpoints.issuer.clone(),
            AssertionAudience::TokenEndpoint => self.token_endpoint().into(),
        };
        authentication.authenticate(form.with_timeout(*timeout), id, &audience, clock.now())
    }

    pub(crate) fn token_endpoint(&self) -> Url {
        self.endpoint(|endpoints| Some(&endpoints.token), |mtls| mtls.token.as_ref())
            .unwrap_or(&self.0.endpoints.token)
            .clone()
    }

    /// Returns an endpoint of the provider. A client with mutual TLS gets the mutual TLS alias of the endpoint, if
    /// there is one.
    pub(crate) fn endpoint<'a>(
        &'a self,
        regular: impl FnOnce(&'a Endpoints) -> Option<&'a Url>,
        mtls: impl FnOnce(&'a crate::MtlsEndpoints) -> Option<&'a Url>,
    ) -> Option<&'a Url> {
        let aliases =
            self.0.endpoints.mtls.as_ref().filter(|_| matches!(self.0.authentication, Authentication::MutualTls));
        aliases.and_then(mtls).or_else(|| regular(&self.0.endpoints))
    }

    /// Sends a request.
    pub(crate) async fn send(&self, form: FormRequest) -> Result<FormResponse, HttpError> {
        form.send(&self.0.http, self.clock().now()).await
    }

    /// Fetches the keys of the verifier, unless they are cached. Without a verifier, does nothing. Call it before a credential
    /// is redeemed or a login is started, so that the new token can be verified.
    pub(crate) async fn ensure_keys(&self) -> Result<(), OAuthError> {
        match &self.0.verifier {
            Some(verifier) => verifier.ensure_keys().await.map_err(OAuthError::jwt),
            None => Ok(()),
        }
    }

    /// Verifies a token with the verifier of the client, if there is one. `date` is the time of the response by the
    /// clock of the provider. If the local clock is wrong, the times of the token are compared with `date`, and its
    /// expiry is converted to the local clock.
    pub(crate) async fn verify_token(
        &self,
        token: AccessToken,
        date: Option<SystemTime>,
    ) -> Result<AccessToken, OAuthError> {
        let Some(verifier) = &self.0.verifier else { return Ok(token) };
        let now = self.clock().now();
        if let Some(date) = date.filter(|date| clock_difference(now, *date) > CLOCK_TOLERANCE) {
            match verifier.verify_as_of(token.secret(), date).await {
                Ok(claims) => {
                    warn_about_clock_difference(now, date);
                    let lifetime = claims.expires_at().and_then(|expires_at| expires_at.duration_since(date).ok());
                    let local_expiry = lifetime.map(|lifetime| now + lifetime);
                    // If the clock is set back to the correct time, the converted expiry is too late. The token then
                    // counts as expired, because the time is before `not_before`.
                    let not_before = now.checked_sub(CLOCK_TOLERANCE).unwrap_or(now);
                    let with_expiry = |token: AccessToken, time| token.with_expires_at(time).with_not_after(time);
                    return Ok(local_expiry.into_iter().fold(token, with_expiry).with_not_before(not_before));
                }
                // The date may come from a proxy with a wrong clock, so the local clock is tried, too.
                Err(error) if error.is_clock() => {}
                Err(error) => return Err(OAuthError::jwt(error)),
            }
        }
        let claims = verifier.verify(token.secret()).await.map_err(OAuthError::jwt)?;
        tracing::debug!(subject = claims.sub, "the access token is verified");
        Ok(claims.expires_at().into_iter().fold(token, AccessToken::with_not_after))
    }
}

/// Returns the absolute difference between two times.
fn clock_difference(first: SystemTime, second: SystemTime) -> Duration {
    first.duration_since(second).unwrap_or_else(|error| error.duration())
}

/// Logs the difference between the local clock and the clock of the provider.
fn warn_about_clock_difference(now: SystemTime, date: SystemTime) {
    let direction = if now < date { "behind" } else { "ahead of" };
    tracing::warn!(
        "the clock of this machine is {} s {direction} the clock of the identity provider: set it",
        clock_difference(now, date).as_secs()
    );
}

/// Converts the error of a grant to the error of a token provider.
pub(crate) fn token_error(error: OAuthError) -> TokenError {
    let (is_transient, retry_after) = (error.is_transient(), error.retry_after());
    let error = match error {
        error if error.is_credential_refused() => return TokenError::refused(error),
        error if error.is_uncertain() => TokenError::uncertain(error),
        error => TokenError::provider(error),
    };
    let error = retry_after.into_iter().fold(error, TokenError::with_retry_after);
    if is_transient { error.into_transient() } else { error }
}

/// Converts the error of a grant that presented the refresh token of a stored login to the error of a token provider.
pub(crate) fn refresh_error(error: OAuthError) -> TokenError {
    if error.is_invalid_grant() { TokenError::grant_refused(error) } else { token_error(error) }
}
