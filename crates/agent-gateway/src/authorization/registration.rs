use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use auth_core::Secret;
use url::Url;

/// The maximum number of registrations in memory, because an untrusted server can name any number of issuers.
const MAX_REGISTRATIONS: usize = 1024;

/// The method by which a registered client authenticates itself at the token endpoint (RFC 7591, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuthentication {
    /// A public client (`none`).
    None,
    /// The secret in the header (`client_secret_basic`).
    SecretBasic,
    /// The secret in the form (`client_secret_post`).
    SecretPost,
}

impl ClientAuthentication {
    /// The methods, in the order of preference.
    pub(super) const ALL: [Self; 3] = [Self::None, Self::SecretBasic, Self::SecretPost];

    /// Returns the name of the method.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SecretBasic => "client_secret_basic",
            Self::SecretPost => "client_secret_post",
        }
    }

    /// Returns the method of this name, or `None` if the name is unknown.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A client that is registered with one authorization server, for the logins of one MCP server
/// ([`with_server`](Self::with_server)) or of all servers that name this authorization server. Its id and its secret
/// are never sent to another authorization server.
///
/// ```
/// use agent_gateway::ClientRegistration;
///
/// let client = ClientRegistration::new("https://issuer.example", "client-id")
///     .with_server("https://mcp.example/orders".parse()?);
/// # Ok::<(), url::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRegistration {
    issuer: String,
    client_id: String,
    server: Option<Url>,
    secret: Option<Secret>,
    authentication: Option<ClientAuthentication>,
    redirect: Option<String>,
    expires_at: Option<SystemTime>,
}

impl ClientRegistration {
    /// Creates the registration of the public client `client_id` with `issuer`, which must match the issuer
    /// identifier of the authorization server exactly.
    pub fn new(issuer: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            client_id: client_id.into(),
            server: None,
            secret: None,
            authentication: None,
            redirect: None,
            expires_at: None,
        }
    }

    /// Limits the client to the MCP server at the URL `server`.
    ///
    /// Without this limit, every server of the gateway can request logins with this client and with scopes of its
    /// choice, because each server names its authorization server itself.
    pub fn with_server(mut self, server: Url) -> Self {
        self.server = Some(server);
        self
    }

    /// Sets the secret of the client.
    pub fn with_secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Sets the authentication method. The default is one that the authorization server accepts.
    pub fn with_authentication(mut self, method: ClientAuthentication) -> Self {
        self.authentication = Some(method);
        self
    }

    /// Sets the registered redirect URL. A stored registration is used only for this redirect URL.
    pub fn with_redirect(mut self, redirect: impl Into<String>) -> Self {
        self.redirect = Some(redirect.into());
        self
    }

    /// Sets the time at which the secret expires (`client_secret_expires_at`).
    pub fn with_expires_at(mut self, expires_at: SystemTime) -> Self {
        self.expires_at = Some(expires_at);
        self
    }

    /// Returns the issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the client id.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Returns the URL of the only MCP server that can use the client, or `None` for all servers.
    pub fn server(&self) -> Option<&Url> {
        self.server.as_ref()
    }

    /// Returns the secret, if the client has one.
    pub fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// Returns the authentication method, if one is set.
    pub fn authentication(&self) -> Option<ClientAuthentication> {
        self.authentication
    }

    /// Returns the registered redirect URL, if it is known.
    pub fn redirect(&self) -> Option<&str> {
        self.redirect.as_deref()
    }

    /// Returns the time at which the secret expires, or `None` if it does not expire.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }
}

/// A store of dynamic registrations, one for each issuer. Implement it to use registrations again in later processes.
///
/// A registration may contain a secret. A loaded registration whose issuer is not the requested one is ignored.
#[async_trait]
pub trait RegistrationStore: fmt::Debug + Send + Sync {
    /// Returns the registration with `issuer`, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// The store cannot be read. In this case, no new client is registered.
    async fn load(&self, issuer: &str) -> Result<Option<ClientRegistration>, Box<dyn Error + Send + Sync>>;

    /// Stores a registration, replacing an earlier one for the same issuer.
    ///
    /// # Errors
    ///
    /// The registration cannot be stored. This process uses it anyway.
    async fn save(&self, registration: &ClientRegistration) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Deletes a registration that the authorization server refuses, unless the store has another one by now.
    ///
    /// # Errors
    ///
    /// The registration cannot be deleted.
    async fn remove(&self, registration: &ClientRegistration) -> Result<(), Box<dyn Error + Send + Sync>>;
}

// The trait must stay usable as a trait object.
const _: Option<&dyn RegistrationStore> = None;

/// A store of registrations in the memory of this process. If it has the registrations of 1,024 issuers, a registration
/// with another issuer replaces all of them.
#[derive(Debug, Default)]
pub struct MemoryRegistrations(Mutex<HashMap<String, ClientRegistration>>);

#[async_trait]
impl RegistrationStore for MemoryRegistrations {
    async fn load(&self, issuer: &str) -> Result<Option<ClientRegistration>, Box<dyn Error + Send + Sync>> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(issuer).cloned())
    }

    async fn save(&self, registration: &ClientRegistration) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut registrations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if registrations.len() >= MAX_REGISTRATIONS && !registrations.contains_key(&registration.issuer) {
            registrations.clear();
        }
        registrations.insert(registration.issuer.clone(), registration.clone());
        Ok(())
    }

    async fn remove(&self, registration: &ClientRegistration) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut registrations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if registrations.get(&registration.issuer) == Some(registration) {
            registrations.remove(&registration.issuer);
        }
        Ok(())
    }
}
