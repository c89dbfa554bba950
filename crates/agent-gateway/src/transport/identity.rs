//! The connections of one certificate, and the tokens obtained with it.
//!
//! A token may be bound to the certificate with which it was obtained. Therefore, a request takes both from one
//! [`Identity`], and uses this identity until its end.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use auth_core::{AsyncTokenProvider, TokenKey, TokenSource};
use auth_http::{HttpClient, HttpClientBuilder};
use auth_oauth::{Endpoints, OAuthClient};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::TransportError;
use crate::authorization::{Authorizer, LoginCounters, Settings, SharedSetup};
use crate::credentials::{CredentialError, CredentialSource, Credentials, SharedProvider};
use crate::tokens::{AssertionBoundProvider, GrantProvider};

/// The issuer in the token keys of providers of the caller. The identity of each provider distinguishes its keys.
const PROVIDER_ISSUER: &str = "provided";

/// The connections of one certificate, and its tokens.
pub(crate) struct Identity {
    pub(crate) credentials: Credentials,
    pub(crate) http: HttpClient,
    /// The tokens; `None` if requests are sent without one.
    pub(crate) tokens: Option<TokenSource>,
    /// The tokens of servers with their own authorization servers.
    pub(crate) authorizer: Option<Authorizer>,
}

/// The common configuration of all identities.
#[derive(Clone)]
pub(crate) struct IdentitySetup {
    pub(crate) http: HttpClientBuilder,
    pub(crate) settings: Settings,
}

/// The current identity. It is replaced when the credentials of the source change.
pub(crate) struct Identities {
    source: Arc<dyn CredentialSource>,
    setup: IdentitySetup,
    interval: Duration,
    /// The identity, and the time of the last read of the source.
    current: RwLock<Option<(Arc<Identity>, Instant)>>,
    /// Locked while a caller reads the source.
    read_lock: Mutex<()>,
}

impl IdentitySetup {
    fn identity(&self, credentials: Credentials) -> Result<Identity, TransportError> {
        let mut http = self.http.clone();
        if let Some(certificate) = &credentials.certificate {
            if !certificate.is_valid_at(self.settings.clock.now()) {
                let end = jiff::Timestamp::try_from(certificate.not_after()).map(|end| end.to_string());
                return Err(CredentialError::expired(&credentials.client_id, end.unwrap_or_default()).into());
            }
            http = http.with_client_certificate(certificate.chain(), certificate.key().clone());
        }
        let http = http.build()?;
        let tokens = match (&credentials.provider, &credentials.token_url) {
            (Some(SharedProvider(provider)), _) => Some(self.provider_tokens(provider)?),
            (None, Some(url)) => Some(self.oauth_tokens(&credentials, url, http.clone())),
            (None, None) => None,
        };
        let authorizer = credentials.authorization.as_ref().map(|authorization| {
            let public = self.http.clone().with_public_hosts().build()?;
            let shared = SharedSetup { http: http.clone(), public, settings: self.settings.clone() };
            Ok::<_, TransportError>(Authorizer::new(authorization, shared))
        });
        let authorizer = authorizer.transpose()?;
        Ok(Identity { credentials, http, tokens, authorizer })
    }

    /// Returns the token source of a provider of the caller.
    fn provider_tokens(&self, provider: &Arc<dyn AsyncTokenProvider>) -> Result<TokenSource, TransportError> {
        let source =
            self.settings.token_source(TokenKey::new(PROVIDER_ISSUER), self.bind_to_assertion(provider.clone()));
        Ok(source.map_err(|error| CredentialError::other("their provider of tokens cannot be used", error))?)
    }

    fn bind_to_assertion(&self, provider: Arc<dyn AsyncTokenProvider>) -> AssertionBoundProvider {
        AssertionBoundProvider { provider, clock: self.settings.clock.clone() }
    }

    fn oauth_tokens(&self, credentials: &Credentials, token_url: &Url, http: HttpClient) -> TokenSource {
        let Credentials { client_id, certificate, resource, .. } = credentials;
        let endpoints = Endpoints::new(token_url.as_str(), token_url.clone());
        let client = OAuthClient::new(http, endpoints, client_id).with_clock(self.settings.clock.clone());
        let client = resource.iter().cloned().fold(client, OAuthClient::with_resource);
        let (client, key) = match certificate {
            Some(certificate) => {
                let key = client.token_key().with_certificate_thumbprint(certificate.thumbprint());
                (client.with_mutual_tls(), key)
            }
            None => (client.clone(), client.token_key()),
        };
        let grants = self.bind_to_assertion(Arc::new(GrantProvider::new(&client, credentials)));
        #[expect(clippy::expect_used, reason = "there is a cache, and client credentials have an identity")]
        self.settings.token_source(key.build(), grants).expect("the parts fit together")
    }
}

impl Identities {
    pub(crate) fn new(source: Arc<dyn CredentialSource>, setup: IdentitySetup, interval: Duration) -> Self {
        Self { source, setup, interval, current: RwLock::default(), read_lock: Mutex::default() }
    }

    /// Returns the identity for a request. Only the first call waits for the source. Later, one caller at a time reads
    /// it after the interval, and the others use the current identity.
    pub(crate) async fn current(&self) -> Result<Arc<Identity>, TransportError> {
        let guard = match self.cached() {
            Some((identity, read_at)) if read_at.elapsed() < self.interval => return Ok(identity),
            Some((identity, _)) => match self.read_lock.try_lock() {
                Ok(guard) => guard,
                Err(_) => return Ok(identity),
            },
            None => self.read_lock.lock().await,
        };
        let current = match self.cached() {
            Some((identity, read_at)) if read_at.elapsed() < self.interval => Ok(identity),
            _ => self.read_source().await,
        };
        drop(guard);
        current
    }

    /// Returns the identity that replaces `unusable`, with which a request could not be sent. Returns `None` if the
    /// credentials have not changed.
    pub(crate) async fn replacement_for(&self, unusable: &Arc<Identity>) -> Option<Arc<Identity>> {
        let guard = self.read_lock.lock().await;
        let current = match self.cached() {
            Some((identity, _)) if !Arc::ptr_eq(&identity, unusable) => Some(identity),
            _ => self.read_source().await.ok(),
        };
        drop(guard);
        current.filter(|identity| !Arc::ptr_eq(identity, unusable))
    }

    /// Returns the source of the credentials.
    pub(crate) fn source(&self) -> &dyn CredentialSource {
        &*self.source
    }

    /// Returns the counters of logins in progress.
    pub(crate) fn logins(&self) -> &LoginCounters {
        &self.setup.settings.logins
    }

    /// Returns the current identity and the time of the last read, if the source was read before.
    pub(crate) fn cached(&self) -> Option<(Arc<Identity>, Instant)> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the source, and creates a new identity if the credentials have changed. If they are unusable, for example
    /// because a file is being written, the current identity remains in use.
    async fn read_source(&self) -> Result<Arc<Identity>, TransportError> {
        let previous = self.cached().map(|(identity, _)| identity);
        let credentials = self.source.credentials().await.map_err(TransportError::from);
        let outcome = credentials.and_then(|credentials| match &previous {
            Some(previous) if previous.credentials == credentials => Ok(previous.clone()),
            _ => self.setup.identity(credentials).map(Arc::new),
        });
        let identity = match (outcome, previous) {
            (Ok(identity), _) => identity,
            (Err(error), Some(previous)) => {
                tracing::warn!(%error, "cannot use the current credentials; the previous ones remain in use");
                previous
            }
            (Err(error), None) => return Err(error),
        };
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Some((identity.clone(), Instant::now()));
        Ok(identity)
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identities").field("source", &self.source).finish_non_exhaustive()
    }
}
