use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use crate::agent_address::AgentAddress;
use crate::credentials::CredentialError;
use crate::principal::Principal;
use crate::tenant::Tenant;

/// A source of MCP servers and A2A agents. Implement the trait to read them from another source. It is called for every
/// discovery.
#[async_trait]
pub trait ServerDirectory: fmt::Debug + Send + Sync {
    /// Returns the current servers.
    ///
    /// # Errors
    ///
    /// The list cannot be read.
    async fn servers(&self) -> Result<Vec<Server>, DirectoryError>;

    /// Returns the current servers for `principal`. Override it if they depend on the principal, such as on its tenant.
    ///
    /// # Errors
    ///
    /// The list cannot be read. An entry that is not valid is not such an error: see [`Listed::errors`].
    async fn servers_for(&self, principal: &Principal) -> Result<Listed<Server>, DirectoryError> {
        let _ = principal;
        Ok(self.servers().await?.into())
    }

    /// Returns the current agents for `principal`. The default is none.
    ///
    /// # Errors
    ///
    /// The list cannot be read.
    async fn agents_for(&self, principal: &Principal) -> Result<Listed<AgentAddress>, DirectoryError> {
        let _ = principal;
        Ok(Vec::new().into())
    }

    /// Deletes what the directory has cached, so that it is read again.
    fn evict(&self) {}
}

const _: Option<&dyn ServerDirectory> = None;

/// An error of a server directory. It is the type of credential errors, because both are often read from the same
/// place.
pub type DirectoryError = CredentialError;

/// The entries of a directory, and the errors of those that are not valid, so that one of these does not hide the others.
#[derive(Debug)]
#[non_exhaustive]
pub struct Listed<T> {
    /// The valid entries.
    pub entries: Vec<T>,
    /// The errors, each of which names its entry.
    pub errors: Vec<DirectoryError>,
}

impl<T> From<Vec<T>> for Listed<T> {
    fn from(entries: Vec<T>) -> Self {
        Self { entries, errors: Vec::new() }
    }
}

impl<T> Listed<T> {
    /// Adds errors.
    pub fn with_errors(mut self, errors: impl IntoIterator<Item = DirectoryError>) -> Self {
        self.errors.extend(errors);
        self
    }
}

/// An MCP server: its id, tenant and endpoint. Clones are cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Server(Arc<Inner>);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Inner {
    id: String,
    tenant: String,
    url: Url,
    subscriber: Option<Tenant>,
}

impl Server {
    /// Creates a server whose endpoint is `url`, for a tenant.
    pub fn at(url: Url, id: impl Into<String>, tenant: impl Into<String>) -> Self {
        Self(Arc::new(Inner { id: id.into(), tenant: tenant.into(), url, subscriber: None }))
    }

    /// Creates a server whose endpoint is `url`, without tenants.
    pub fn new(url: Url, id: impl Into<String>) -> Self {
        Self::at(url, id, "")
    }

    /// Limits the server to principals of this tenant. Calls of other principals are refused before a request is sent.
    pub fn with_subscriber(mut self, subscriber: Tenant) -> Self {
        Arc::make_mut(&mut self.0).subscriber = Some(subscriber);
        self
    }

    /// Returns the id of the server in its directory.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Returns the tenant, or an empty string if the server has none.
    pub fn tenant(&self) -> &str {
        &self.0.tenant
    }

    /// Returns the URL of the server's MCP endpoint.
    pub fn url(&self) -> &Url {
        &self.0.url
    }

    /// Returns the tenant whose principals may use the server, or `None` if all may.
    pub fn subscriber(&self) -> Option<&Tenant> {
        self.0.subscriber.as_ref()
    }

    /// Returns true if this principal may use the server.
    pub(crate) fn admits(&self, principal: &Principal) -> bool {
        self.subscriber().is_none_or(|subscriber| principal.tenant() == Some(subscriber))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`", self.0.id)?;
        if self.0.tenant.is_empty() { Ok(()) } else { write!(formatter, " of the tenant `{}`", self.0.tenant) }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { id, tenant, url, subscriber } = &*self.0;
        let mut shown = formatter.debug_struct("Server");
        shown.field("id", id).field("tenant", tenant).field("url", &auth_http::redacted(url).to_string());
        shown.field("subscriber", subscriber).finish()
    }
}

#[async_trait]
impl ServerDirectory for Vec<Server> {
    async fn servers(&self) -> Result<Vec<Server>, DirectoryError> {
        Ok(self.clone())
    }
}
