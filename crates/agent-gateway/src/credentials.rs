//! What the agent proves itself with, and where that is found.

mod binding;
mod document;
mod environment;
mod error;

use std::fmt;

use async_trait::async_trait;
use auth_http::ClientCertificate;
use url::Url;

pub use binding::ServiceBinding;
pub use environment::Environment;
pub use error::CredentialError;

/// Says what the agent proves itself with. Implement it for credentials that lie elsewhere.
///
/// It is asked again while calls are made, every few seconds: credentials that have changed replace the connections and
/// tokens of those before. As long as it fails, those before stay.
#[async_trait]
pub trait CredentialSource: fmt::Debug + Send + Sync {
    /// The credentials as they are now.
    ///
    /// # Errors
    ///
    /// There are none, or none that could be used.
    async fn credentials(&self) -> Result<Credentials, CredentialError>;
}

const _: Option<&dyn CredentialSource> = None;

/// What the agent proves itself with to the token service. The private key stays in memory.
///
/// They are a [`CredentialSource`] themselves, for callers who have them from elsewhere.
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
    /// The client `client_id` of the token service at `token_url`, without a certificate of its own: what stands before
    /// the service shows one for it.
    pub fn new(token_url: Url, client_id: impl Into<String>) -> Self {
        Self { token_url, client_id: client_id.into(), certificate: None }
    }

    /// Shows `certificate` to the token service (RFC 8705), and to the gateway if it asks for one.
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
