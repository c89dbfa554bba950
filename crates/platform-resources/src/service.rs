//! User logins and the clients that use them, according to the settings.

mod doctor;
mod external;
mod identity;
mod keys;
mod login;
mod methods;
mod sources;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth_core::{
    AccessToken, AsyncTokenProvider, Clock, ExpiryPolicy, SystemClock, TokenKey, TokenRequest, TokenSource,
};
use auth_http::retry::Hosts;
use auth_http::{HttpClient, HttpClientBuilder, Proxy};
use auth_oauth::{Claims, Endpoints, FileTokenStore, JwtProblem, JwtVerifier, OAuthClient, RefreshGrant, UserLogin};
use platform_api::models::Me;

use crate::client::Client;
use crate::error::{BuildError, Error};
use crate::settings::{CredentialSettings, Settings};
use crate::token_retry;

pub use doctor::Finding;
use external::{Connections, ExternalProvider};
use keys::{login_folder, login_key, token_key};
pub use methods::LoginMethods;
use sources::Sources;

/// A service that logs a user in to and out of the platform of the [`Settings`], and creates clients for the user.
/// The login is stored in the cache folder. All processes of the user share it, and one of them refreshes it for all.
/// Clones are cheap.
///
/// ```no_run
/// use platform_resources::{LoginMethods, Service, Settings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let service = Service::builder(Settings::from_env()?).build()?;
/// // Without login methods the user is not prompted: this fails if no login is stored.
/// service.ensure_login(LoginMethods::none()).await?;
/// let client = service.client()?;
/// println!("{}", client.me().await?.user.id);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Service {
    settings: Arc<Settings>,
    /// The builder that `http` was created with.
    http_builder: HttpClientBuilder,
    http: HttpClient,
    interactive: OAuthClient,
    device: Option<OAuthClient>,
    verifier: JwtVerifier,
    store: FileTokenStore,
    /// The token provider, if the settings name a credential other than a user login.
    external: Option<ExternalProvider>,
    sources: Arc<Sources>,
}

/// A builder for [`Service`].
#[derive(Clone, Debug)]
pub struct ServiceBuilder {
    settings: Settings,
    root_certificates: Vec<PathBuf>,
    proxy: Option<Proxy>,
    hosts: Hosts,
}

/// The user of a service, and the claims of the access token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Identity {
    /// The user and the organization. The value contains live credentials.
    pub me: Me,
    /// The claims of the token. `None` if they are unknown, because the token is not a JWT of the platform's identity
    /// provider, or the keys for its verification cannot be fetched.
    pub claims: Option<IdentityClaims>,
    /// The source of the token.
    pub credential: CredentialSettings,
}

/// The verified claims of an access token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IdentityClaims {
    /// The role of the user in the organization; `member` if the token contains none.
    pub role: String,
    /// The issuer of the token.
    pub issuer: String,
    /// The audience of the token.
    pub audience: String,
    /// The OAuth client that the token was issued to.
    pub client_id: Option<String>,
    /// The scopes of the token.
    pub scopes: Vec<String>,
    /// The organization that the token is limited to.
    pub organization_id: Option<String>,
    /// The time of issue.
    pub issued_at: Option<SystemTime>,
    /// The time of expiry.
    pub expires_at: Option<SystemTime>,
}

/// The result of a logout. The local login is deleted in either case.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoggedOut {
    /// The identity provider has revoked the login.
    Everywhere,
    /// The identity provider has not revoked the login, with the reason. Copies of the login remain valid.
    LocalOnly(auth_oauth::OAuthError),
}

impl Client {
    /// Returns a client for the user who is logged in on this machine, with the [settings of the
    /// environment](Settings::from_env). It never prompts for a login.
    ///
    /// # Errors
    ///
    /// The settings are invalid, or the client cannot be built.
    pub fn from_env() -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Service::builder(Settings::from_env()?).build()?.client()?)
    }
}

impl Service {
    /// Returns a builder for a service.
    pub fn builder(settings: Settings) -> ServiceBuilder {
        ServiceBuilder { settings, root_certificates: Vec::new(), proxy: None, hosts: Hosts::new() }
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the token source of the [credential](Settings::credential) in the settings, or else of the stored login.
    /// It never prompts for a login.
    pub fn tokens(&self) -> TokenSource {
        self.tokens_with_min_remaining(Duration::ZERO)
    }

    /// Returns a token source whose tokens are valid for at least `min_remaining`: a token that expires earlier is
    /// refreshed first. If the identity provider issues shorter-lived tokens, they are returned anyway. If the refresh
    /// fails, other token sources can still use the current token.
    pub fn tokens_with_min_remaining(&self, min_remaining: Duration) -> TokenSource {
        self.sources.get_or_create(min_remaining, || self.new_source(min_remaining))
    }

    /// Returns a token that is valid for at least `min_remaining`, like
    /// [`tokens_with_min_remaining`](Self::tokens_with_min_remaining). Waits for an unavailable identity provider
    /// within the limits of [`Settings::retry`], because a login that cannot be refreshed at the moment is still valid.
    ///
    /// # Errors
    ///
    /// [`Error::is_login_required`]: no login is stored, or it was refused. [`Error::is_transient`]: the identity
    /// provider is unavailable. Otherwise the refresh failed for another reason.
    pub async fn token_with_min_remaining(&self, min_remaining: Duration) -> Result<AccessToken, Error> {
        let (tokens, settings) = (self.tokens_with_min_remaining(min_remaining), &self.settings);
        let policy = settings.auth.apply_to(settings.retry.for_requests());
        Ok(token_retry::token_with_retries(|| tokens.token(), || self.http.attempts(&settings.token_url, &policy))
            .await?)
    }

    fn new_source(&self, min_remaining: Duration) -> TokenSource {
        if let Some(external) = &self.external {
            return external.new_source(&self.store, min_remaining);
        }
        let provider: Arc<dyn AsyncTokenProvider> = match self.settings.refresh_token() {
            Some(secret) => Arc::new(RefreshGrant::new(self.interactive.clone()).with_refresh_token(secret.clone())),
            None => Arc::new(self.user_login()),
        };
        let store = Arc::new(self.store.clone());
        let source = TokenSource::builder(token_key(&self.settings, &self.interactive), provider)
            .with_cache(store.clone())
            .with_lease(store);
        // A refresh fetches keys, redeems the refresh token, and may fetch keys again.
        let source = source.with_attempt_timeout(Duration::from_secs(120).max(self.settings.auth.timeout * 2));
        #[expect(clippy::expect_used, reason = "the key names an identity, and the store is cache and lease")]
        source
            .with_expiry(ExpiryPolicy::default().with_min_remaining(min_remaining))
            .build()
            .expect("the parts fit together")
    }

    /// Returns a client of the platform for the user.
    ///
    /// # Errors
    ///
    /// The HTTP client cannot be built.
    pub fn client(&self) -> Result<Client, BuildError> {
        let builder = Client::builder((*self.settings).clone()).with_tokens(self.tokens());
        builder.with_http(self.http_builder.clone(), self.http.clone()).build()
    }

    /// Returns the identity of the user.
    ///
    /// # Errors
    ///
    /// [`Error::is_login`]: no token is available. Otherwise the request failed.
    pub async fn identity(&self) -> Result<Identity, Error> {
        let me = self.client()?.me().await?;
        let claims = match &self.external {
            // The token need not be a JWT of the platform's identity provider. It is valid, because the platform has
            // accepted it.
            Some(_) => self.verifier.verify(self.tokens().token().await?.secret()).await.ok(),
            None => self.current_claims().await?,
        };
        let claims = claims.map(|claims| self.identity_claims(&claims));
        Ok(Identity { me, claims, credential: self.settings.credential.clone() })
    }

    fn identity_claims(&self, claims: &Claims) -> IdentityClaims {
        let role = claims.text(&format!("{}/role", self.settings.audience));
        IdentityClaims {
            role: role.unwrap_or("member").to_owned(),
            issuer: self.settings.issuer.clone(),
            audience: self.settings.audience.clone(),
            client_id: claims.client_id().map(str::to_owned),
            scopes: claims.scopes().to_vec(),
            organization_id: claims.org_id.clone(),
            issued_at: claims.issued_at(),
            expires_at: claims.expires_at(),
        }
    }

    /// Returns the claims of the current token, or `None` if it is not a JWT. A token that fails verification, for
    /// example because its key was retired, is refreshed first.
    async fn current_claims(&self) -> Result<Option<Claims>, Error> {
        let tokens = self.tokens();
        let token = tokens.token().await?;
        let verification = match self.verifier.verify(token.secret()).await {
            Err(error) if error.problem() == Some(JwtProblem::Malformed) => return Ok(None),
            // The platform has accepted the token, so only the local clock can be wrong.
            Err(error) if error.is_clock() => {
                let (now, correction) =
                    (SystemClock.now(), error.clock_difference().unwrap_or_default() + Duration::from_secs(1));
                let corrected_now = if error.claim() == Some("exp") { now - correction } else { now + correction };
                self.verifier.verify_as_of(token.secret(), corrected_now).await
            }
            Err(error) if error.is_definitive() => {
                tokens.reject(&TokenRequest::default(), &token);
                let token = tokens.token().await?;
                self.verifier.verify(token.secret()).await
            }
            verification => verification,
        };
        verification.map(Some).map_err(Error::token_claims)
    }

    /// Makes the clients of all services in this process read the stored login again with their next request.
    fn invalidate_sources(&self) {
        Sources::invalidate(&login_folder(&self.settings), &self.login_key());
    }

    /// Returns a provider that refreshes the stored login.
    fn user_login(&self) -> UserLogin {
        self.device.iter().cloned().fold(UserLogin::new(self.interactive.clone()), UserLogin::with_client)
    }

    /// Returns the key of the stored login.
    fn login_key(&self) -> TokenKey {
        login_key(&self.settings, &self.interactive)
    }
}

impl ServiceBuilder {
    /// Trusts the certificates in a PEM file, in addition to the certificates of the system.
    pub fn with_root_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.root_certificates.push(file.into());
        self
    }

    /// Sends all https requests through `proxy`, regardless of the environment and the profile.
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Shares circuit breakers, and the [observer](Hosts::with_observer) of waits, with other clients.
    pub fn with_hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = hosts;
        self
    }

    /// Builds the service without sending a request.
    ///
    /// # Errors
    ///
    /// The HTTP client cannot be built.
    pub fn build(self) -> Result<Service, BuildError> {
        let Self { settings, root_certificates, proxy, hosts } = self;
        let http_builder =
            crate::client::http_client_builder(&settings, &root_certificates, proxy.as_ref())?.with_hosts(hosts);
        let http = http_builder.clone().build()?;
        let mut endpoints = Endpoints::new(&settings.issuer, settings.token_url.clone());
        endpoints.authorization = Some(settings.authorization_url.clone());
        endpoints.device_authorization = Some(settings.device_url.clone());
        endpoints.jwks = Some(settings.jwks_url.clone());
        endpoints.revocation = settings.token_url.join("revoke").ok();
        let verifier = JwtVerifier::new(http.clone(), &settings.issuer, &settings.audience, settings.jwks_url.clone())
            .with_key_lifetime(settings.jwks_lifetime);
        let verifier = settings.organization_id.iter().fold(verifier, JwtVerifier::with_organization);
        let client = |id: &str| {
            let client = OAuthClient::new(http.clone(), endpoints.clone(), id).with_audience(&settings.audience);
            let policy = settings.auth.apply_to(settings.retry.for_requests());
            let client = client.with_timeout(settings.auth.timeout).with_retry_policy(policy);
            let client = client.with_scopes(&settings.scopes).with_verifier(verifier.clone());
            settings.organization_id.iter().fold(client, OAuthClient::with_organization)
        };
        let (interactive, folder) = (client(&settings.client_id_interactive), login_folder(&settings));
        let machine_client = OAuthClient::new(http.clone(), endpoints.clone(), "").with_audience(&settings.audience);
        let machine_client = settings.organization_id.iter().fold(machine_client, OAuthClient::with_organization);
        let machine_client = machine_client.with_timeout(settings.auth.timeout);
        let external =
            ExternalProvider::of(&settings, &Connections { http_builder: &http_builder, client: machine_client })?;
        let key = external.as_ref().map_or_else(|| token_key(&settings, &interactive), |external| external.key.clone());
        Ok(Service {
            sources: Sources::register(&folder, key),
            external,
            interactive,
            device: settings.client_id_device.as_ref().map(|id| client(id.expose())),
            store: FileTokenStore::new(folder),
            verifier,
            http_builder,
            http,
            settings: Arc::new(settings),
        })
    }
}
