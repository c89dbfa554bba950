//! Who asks a provider for tokens, and what every question of it says.

mod assertion;
mod authentication;
mod issued;
mod questions;
mod repeated;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth_core::{AccessToken, Clock, Secret, SystemClock, TokenError, TokenKey, TokenKeyBuilder};
use auth_http::retry::RetryPolicy;
use auth_http::{HttpClient, HttpError};
use url::Url;

use crate::exchange::{Answer, Exchange, TIMEOUT};
use crate::{Endpoints, JwtVerifier, OAuthError};

pub use assertion::{PrivateKey, PrivateKeyError};
pub(crate) use authentication::Authentication;

/// A local clock that differs more from that of the provider is not used for the times of a token. It is the leeway of
/// their verification.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// An OAuth client: how a provider knows it, how it proves that, and what it asks for unless something else is
/// said. Every grant begins with one. Cheap to clone.
///
/// ```
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use auth_core::Secret;
/// use auth_http::HttpClient;
/// use auth_oauth::{ClientCredentials, Endpoints, OAuthClient};
///
/// let endpoints = Endpoints::of_issuer(&"https://issuer.example/".parse()?)?;
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
    /// The client `id`, which has no secret, at the provider with these endpoints.
    pub fn new(http: HttpClient, endpoints: Endpoints, id: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            http,
            endpoints,
            id: id.into(),
            authentication: Authentication::None,
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

    /// Proves itself by a secret in the header (`client_secret_basic`; RFC 6749, section 2.3.1).
    pub fn with_secret_basic(self, secret: Secret) -> Self {
        self.with(|inner| inner.authentication = Authentication::SecretBasic(secret))
    }

    /// Proves itself by a secret in the form (`client_secret_post`; RFC 6749, section 2.3.1).
    pub fn with_secret_post(self, secret: Secret) -> Self {
        self.with(|inner| inner.authentication = Authentication::SecretPost(secret))
    }

    /// Proves itself by a signature (`private_key_jwt`; RFC 7523, section 2.2).
    pub fn with_private_key(self, key: PrivateKey) -> Self {
        self.with(|inner| inner.authentication = Authentication::PrivateKeyJwt(key))
    }

    /// Proves itself by the certificate of its HTTP client (RFC 8705, section 2), at the endpoints that the provider
    /// has for that: see `auth_http::HttpClientBuilder::with_client_certificate`.
    pub fn with_mutual_tls(self) -> Self {
        self.with(|inner| inner.authentication = Authentication::MutualTls)
    }

    /// The service that tokens should be meant for, as Auth0 spells it.
    pub fn with_audience(self, audience: impl Into<String>) -> Self {
        self.with(|inner| inner.audience = Some(audience.into()))
    }

    /// The organisation that a user logs in for, as Auth0 spells it.
    pub fn with_organization(self, organization: impl Into<String>) -> Self {
        self.with(|inner| inner.organization = Some(organization.into()))
    }

    /// A service that tokens should be meant for (RFC 8707); may be called for each of several.
    pub fn with_resource(self, resource: Url) -> Self {
        self.with(|inner| inner.resources.push(resource))
    }

    /// The scopes to ask for.
    pub fn with_scopes<S: Into<String>>(self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.with(|inner| inner.scopes = scopes.into_iter().map(Into::into).collect())
    }

    /// An additional parameter of every authorization request, device authorization and token request, refreshes included.
    /// May be called for each of several. It is not secret, and part of the key of tokens.
    pub fn with_parameter(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|inner| inner.parameters.push((name.into(), value.into())))
    }

    /// Hands out only tokens that `verifier` accepts: none of another issuer or for another audience.
    pub fn with_verifier(self, verifier: JwtVerifier) -> Self {
        self.with(|inner| inner.verifier = Some(verifier))
    }

    /// The clock that the ends of tokens are counted from.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        self.with(|inner| inner.clock = clock)
    }

    /// How long one question to the provider may take; 30 s unless something is said.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        self.with(|inner| inner.timeout = timeout)
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The same client under another name, at the same provider.
    pub(crate) fn with_id(self, id: String) -> Self {
        self.with(|inner| inner.id = id)
    }

    /// How the provider knows it.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Where the provider is spoken to.
    pub fn endpoints(&self) -> &Endpoints {
        &self.0.endpoints
    }

    /// Starts the key that tokens of this client are kept under: everything by which they differ from those of other
    /// clients. The identity of the grant is added by the token source.
    pub fn token_key(&self) -> TokenKeyBuilder {
        let Inner { http, endpoints, id, audience, organization, resources, scopes, parameters, .. } = &*self.0;
        let key = TokenKey::builder(&endpoints.issuer).with_client_id(id).with_scopes(scopes);
        let key = key.with_resources(resources.iter().map(Url::as_str)).with_parameters(parameters.iter().cloned());
        let key = key.with_token_endpoint(self.token_endpoint().origin().ascii_serialization());
        let key = audience.iter().fold(key, TokenKeyBuilder::with_audience);
        let key = http.certificate_thumbprint().into_iter().fold(key, TokenKeyBuilder::with_certificate_thumbprint);
        organization.iter().fold(key, TokenKeyBuilder::with_tenant)
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// The proof of who asks.
    pub(crate) fn authenticated(&self, exchange: Exchange) -> Result<Exchange, OAuthError> {
        let Inner { authentication, id, endpoints, clock, timeout, .. } = &*self.0;
        authentication.prove(exchange.with_timeout(*timeout), id, &endpoints.issuer, clock.now())
    }

    pub(crate) fn token_endpoint(&self) -> Url {
        self.endpoint(|endpoints| Some(&endpoints.token), |mtls| mtls.token.as_ref())
            .unwrap_or(&self.0.endpoints.token)
            .clone()
    }

    /// An endpoint, or the one that stands in its place for mutual TLS.
    pub(crate) fn endpoint<'a>(
        &'a self,
        usual: impl FnOnce(&'a Endpoints) -> Option<&'a Url>,
        mtls: impl FnOnce(&'a crate::MtlsEndpoints) -> Option<&'a Url>,
    ) -> Option<&'a Url> {
        let aliases =
            self.0.endpoints.mtls.as_ref().filter(|_| matches!(self.0.authentication, Authentication::MutualTls));
        aliases.and_then(mtls).or_else(|| usual(&self.0.endpoints))
    }

    /// Sends a question.
    pub(crate) async fn ask(&self, exchange: Exchange) -> Result<Answer, HttpError> {
        exchange.send(&self.0.http, self.clock().now()).await
    }

    /// Makes sure that a token could be verified, before anything is spent for it, or anybody asked.
    pub(crate) async fn prepare(&self) -> Result<(), OAuthError> {
        match &self.0.verifier {
            Some(verifier) => verifier.prepare().await.map_err(OAuthError::jwt),
            None => Ok(()),
        }
    }

    /// Returns the token if it is valid. `date` is the time of its response by the clock of the provider: if the local clock
    /// is wrong, the times of the token are checked against that one, and its end is converted to the local clock.
    pub(crate) async fn verified(
        &self,
        token: AccessToken,
        date: Option<SystemTime>,
    ) -> Result<AccessToken, OAuthError> {
        let Some(verifier) = &self.0.verifier else { return Ok(token) };
        let now = self.clock().now();
        if let Some(date) = date.filter(|date| difference(now, *date) > CLOCK_TOLERANCE) {
            match verifier.verify_as_of(token.secret(), date).await {
                Ok(claims) => {
                    warn_of_clock(now, date);
                    let lifetime = claims.expires_at().and_then(|end| end.duration_since(date).ok());
                    let end = lifetime.map(|lifetime| now + lifetime);
                    return Ok(end
                        .into_iter()
                        .fold(token, |token, end| token.with_expires_at(end).with_not_after(end)));
                }
                // The date may be that of a proxy.
                Err(error) if error.is_clock() => {}
                Err(error) => return Err(OAuthError::jwt(error)),
            }
        }
        let claims = verifier.verify(token.secret()).await.map_err(OAuthError::jwt)?;
        tracing::debug!(subject = claims.sub, "the access token is verified");
        Ok(claims.expires_at().into_iter().fold(token, AccessToken::with_not_after))
    }
}

/// Returns how far two clocks are apart.
fn difference(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|error| error.duration())
}

/// Logs that the local clock differs from that of the provider.
fn warn_of_clock(now: SystemTime, date: SystemTime) {
    let direction = if now < date { "behind" } else { "ahead of" };
    tracing::warn!(
        "the clock of this machine is {} s {direction} the clock of the identity provider: set it",
        difference(now, date).as_secs()
    );
}

/// Converts the error of a grant.
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

/// Converts the error of a grant that presented the refresh token of an earlier token.
pub(crate) fn refresh_error(error: OAuthError) -> TokenError {
    if error.is_invalid_grant() { TokenError::grant_refused(error) } else { token_error(error) }
}
