//! The connections of one certificate, and the tokens obtained with it.
//!
//! A token may be bound to the certificate used to obtain it. Both change together: a request takes both from one
//! [`Identity`] and keeps it until its end.

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
use crate::authorization::{Authorizer, Logins, Parts, Settings};
use crate::credentials::{CredentialError, CredentialSource, Credentials, Provider};
use crate::tokens::{Bounded, Grants};

/// The issuer in the keys of tokens that a provider of the caller obtains. Its identity distinguishes them.
const PROVIDED: &str = "provided";

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
pub(crate) struct Setup {
    pub(crate) http: HttpClientBuilder,
    pub(crate) settings: Settings,
}

/// The current identity. It is replaced when the credentials of the source change.
pub(crate) struct Identities {
    source: Arc<dyn CredentialSource>,
    setup: Setup,
    interval: Duration,
    /// The identity, and the time of the last read of the source.
    current: RwLock<Option<(Arc<Identity>, Instant)>>,
    /// Locked while a caller reads the source.
    asking: Mutex<()>,
}

impl Setup {
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
            (Some(Provider(provider)), _) => Some(self.tokens_of(provider)?),
            (None, Some(url)) => Some(self.tokens(&credentials, url, http.clone())),
            (None, None) => None,
        };
        let authorizer = credentials.authorization.as_ref().map(|authorization| {
            let public = self.http.clone().with_public_hosts().build()?;
            let parts = Parts { http: http.clone(), public, settings: self.settings.clone() };
            Ok::<_, TransportError>(Authorizer::new(authorization, parts))
        });
        let authorizer = authorizer.transpose()?;
        Ok(Identity { credentials, http, tokens, authorizer })
    }

    /// Returns the tokens of a provider of the caller.
    fn tokens_of(&self, provider: &Arc<dyn AsyncTokenProvider>) -> Result<TokenSource, TransportError> {
        let source = self.settings.source(TokenKey::new(PROVIDED), self.bounded(provider.clone()));
        Ok(source.map_err(|error| CredentialError::other("their provider of tokens cannot be used", error))?)
    }

    fn bounded(&self, provider: Arc<dyn AsyncTokenProvider>) -> Bounded {
        Bounded { provider, clock: self.settings.clock.clone() }
    }

    fn tokens(&self, credentials: &Credentials, token_url: &Url, http: HttpClient) -> TokenSource {
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
        let grants = self.bounded(Arc::new(Grants::new(&client, credentials)));
        #[expect(clippy::expect_used, reason = "there is a cache, and client credentials have an identity")]
        self.settings.source(key.build(), grants).expect("the parts fit together")
    }
}

impl Identities {
    pub(crate) fn new(source: Arc<dyn CredentialSource>, setup: Setup, interval: Duration) -> Self {
        Self { source, setup, interval, current: RwLock::default(), asking: Mutex::default() }
    }

    /// Returns the identity for a request. Only the first call waits for the source. Later, one caller at a time reads it
    /// after the interval, and the others use the current identity.
    pub(crate) async fn current(&self) -> Result<Arc<Identity>, TransportError> {
        let asking = match self.known() {
            Some((identity, asked)) if asked.elapsed() < self.interval => return Ok(identity),
            Some((identity, _)) => match self.asking.try_lock() {
                Ok(asking) => asking,
                Err(_) => return Ok(identity),
            },
            None => self.asking.lock().await,
        };
        let current = match self.known() {
            Some((identity, asked)) if asked.elapsed() < self.interval => Ok(identity),
            _ => self.ask().await,
        };
        drop(asking);
        current
    }

    /// Returns another identity after a request with this one could not be sent; `None` if there is no other.
    pub(crate) async fn instead_of(&self, failed: &Arc<Identity>) -> Option<Arc<Identity>> {
        let asking = self.asking.lock().await;
        let current = match self.known() {
            Some((identity, _)) if !Arc::ptr_eq(&identity, failed) => Some(identity),
            _ => self.ask().await.ok(),
        };
        drop(asking);
        current.filter(|identity| !Arc::ptr_eq(identity, failed))
    }

    /// Returns the source of the credentials.
    pub(crate) fn source(&self) -> &dyn CredentialSource {
        &*self.source
    }

    /// Returns the logins of users at the authorization servers of servers.
    pub(crate) fn logins(&self) -> &Logins {
        &self.setup.settings.logins
    }

    /// Returns the current identity, if one was needed already.
    pub(crate) fn known(&self) -> Option<(Arc<Identity>, Instant)> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the source, and creates a new identity if the credentials changed. If they are unusable, for example
    /// because a file is being written, the current identity is kept.
    async fn ask(&self) -> Result<Arc<Identity>, TransportError> {
        let before = self.known().map(|(identity, _)| identity);
        let credentials = self.source.credentials().await.map_err(TransportError::from);
        let made = credentials.and_then(|credentials| match &before {
            Some(before) if before.credentials == credentials => Ok(before.clone()),
            _ => self.setup.identity(credentials).map(Arc::new),
        });
        let identity = match (made, before) {
            (Ok(identity), _) => identity,
            (Err(error), Some(before)) => {
                tracing::warn!(%error, "cannot use the current credentials; the previous ones remain in use");
                before
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
