//! The credentials of the agent.

mod error;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use auth_core::AsyncTokenProvider;
use auth_http::ClientCertificate;
use url::Url;

use crate::authorization::McpAuthorization;
use crate::principal::Principal;

pub use error::CredentialError;

/// A source of credentials. Implement it for credentials that are stored elsewhere.
///
/// The gateway reads the source again every few seconds while calls are made. If the credentials have changed, it
/// replaces its connections and tokens. If the source fails, it continues to use the previous credentials.
#[async_trait]
pub trait CredentialSource: fmt::Debug + Send + Sync {
    /// Returns the current credentials.
    ///
    /// # Errors
    ///
    /// The credentials are missing or not valid.
    async fn credentials(&self) -> Result<Credentials, CredentialError>;

    /// Returns the base URL of the gateway that accepts the tokens of `principal`, if there is one. The default is the
    /// URL in the [`credentials`](Credentials::with_gateway_url).
    ///
    /// # Errors
    ///
    /// The credentials are missing or not valid.
    async fn gateway_url(&self, principal: &Principal) -> Result<Option<Url>, CredentialError> {
        let _ = principal;
        Ok(self.credentials().await?.gateway_url)
    }
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
    /// The token endpoint; `None` if requests are sent without a token.
    pub(crate) token_url: Option<Url>,
    pub(crate) client_id: String,
    pub(crate) certificate: Option<ClientCertificate>,
    pub(crate) resource: Option<Url>,
    pub(crate) system_parameters: Vec<(String, String)>,
    pub(crate) user_parameters: Vec<(String, String)>,
    pub(crate) gateway_url: Option<Url>,
    pub(crate) provider: Option<SharedProvider>,
    /// The authorization for servers with their own authorization servers, instead of one token service.
    pub(crate) authorization: Option<McpAuthorization>,
}

/// A shared provider of tokens. Two values are equal if they share the same provider.
#[derive(Clone, Debug)]
pub(crate) struct SharedProvider(pub(crate) Arc<dyn AsyncTokenProvider>);

impl PartialEq for SharedProvider {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SharedProvider {}

impl Credentials {
    /// Creates credentials for the client `client_id` of the token service at `token_url`. They have no certificate:
    /// set one ([`with_certificate`](Self::with_certificate)), or use a TLS sidecar that presents one.
    pub fn new(token_url: Url, client_id: impl Into<String>) -> Self {
        Self::with_token_url(Some(token_url), client_id.into())
    }

    /// Creates credentials for servers that need none: requests are sent without a token, and only as the system.
    pub fn none() -> Self {
        Self::with_token_url(None, String::new())
    }

    /// Creates credentials whose tokens come from `provider`, such as a vault or a service that exchanges tokens
    /// itself. Its requests contain the [tenant](auth_core::TokenRequest::tenant) of the principal, and the
    /// [assertion](auth_core::TokenRequest::assertion) of the user. A token of a user expires no later than the
    /// assertion.
    ///
    /// The provider needs an [identity](AsyncTokenProvider::identity) if the tokens are stored outside of the process.
    pub fn from_provider(provider: Arc<dyn AsyncTokenProvider>) -> Self {
        Self { provider: Some(SharedProvider(provider)), ..Self::none() }
    }

    fn with_token_url(token_url: Option<Url>, client_id: String) -> Self {
        Self {
            token_url,
            client_id,
            certificate: None,
            resource: None,
            system_parameters: Vec::new(),
            user_parameters: Vec::new(),
            gateway_url: None,
            provider: None,
            authorization: None,
        }
    }

    /// Sets the base URL of the gateway. [`Gateway::system_token`](crate::Gateway::system_token) and
    /// [`Gateway::user_token`](crate::Gateway::user_token) return it with the token.
    pub fn with_gateway_url(mut self, url: Url) -> Self {
        self.gateway_url = Some(url);
        self
    }

    /// Sets the resource of all tokens (RFC 8707).
    pub fn with_resource(mut self, resource: Url) -> Self {
        self.resource = Some(resource);
        self
    }

    /// Adds a parameter to the requests for tokens of the system, if the token service requires it. It is not secret.
    pub fn with_system_parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.system_parameters.push((name.into(), value.into()));
        self
    }

    /// Adds a parameter to the requests for tokens of users, if the token service requires it. It is not secret.
    pub fn with_user_parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.user_parameters.push((name.into(), value.into()));
        self
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

#[async_trait]
impl CredentialSource for McpAuthorization {
    async fn credentials(&self) -> Result<Credentials, CredentialError> {
        Ok(Credentials { authorization: Some(self.clone()), ..Credentials::none() })
    }
}
