//! The credentials of the agent.

mod error;

use std::fmt;

use async_trait::async_trait;
use auth_http::ClientCertificate;
use url::Url;

pub use error::CredentialError;

/// A source of credentials. Implement it for credentials that are stored elsewhere.
///
/// It is read again every few seconds while calls are made. Changed credentials replace the connections and tokens of
/// the former ones, which stay in use while the source fails.
#[async_trait]
pub trait CredentialSource: fmt::Debug + Send + Sync {
    /// Returns the current credentials.
    ///
    /// # Errors
    ///
    /// The credentials are missing or not valid.
    async fn credentials(&self) -> Result<Credentials, CredentialError>;
}

const _: Option<&dyn CredentialSource> = None;

/// The credentials of the agent at the token service. The private key stays in memory.
///
/// They are also a [`CredentialSource`] that never changes.
///
/// ```
/// # fn example(chain: String, key: auth_core::Secret) -> Result<(), Box<dyn std::error::Error>> {
/// use agent_gateway::Credentials;
/// use auth_http::ClientCertificate;
///
/// let credentials = Credentials::new("https://tokens.example/oauth2/token".parse()?, "client-id")
///     .with_certificate(ClientCertificate::from_pem(chain, key)?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub(crate) token_url: Url,
    pub(crate) client_id: String,
    pub(crate) certificate: Option<ClientCertificate>,
}

impl Credentials {
    /// Creates credentials for the client `client_id` of the token service at `token_url`, without a certificate. A TLS
    /// sidecar in front of the service presents one.
    pub fn new(token_url: Url, client_id: impl Into<String>) -> Self {
        Self { token_url, client_id: client_id.into(), certificate: None }
    }

    /// Sets the certificate for the token service (RFC 8705), and for the gateway if it requests one.
    pub fn with_certificate(mut self, certificate: ClientCertificate) -> Self {
        self.certificate = Some(certificate);
        self
    }
}

#[async_trait]
impl CredentialSource for Credentials {
    async fn credentials(&self) -> Result<Credentials, CredentialError> {
        Ok(self.clone())
    }
}
