use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use crate::credentials::CredentialError;
use crate::principal::Principal;
use crate::tenant::Tenant;

/// The path of the agent card below the URL of an agent (A2A 1.0, section 8.2; RFC 8615).
const CARD_PATH: &str = ".well-known/agent-card.json";

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

    /// Returns the current servers for `principal`. Override it if they depend on the principal, for example on its
    /// tenant.
    ///
    /// # Errors
    ///
    /// The list cannot be read. Invalid entries do not cause this error: see [`Listed::errors`].
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

    /// Deletes the cache of the directory, so that it is read again.
    fn evict(&self) {}
}

const _: Option<&dyn ServerDirectory> = None;

/// An error of a server directory. It has the type of credential errors, because servers and credentials often come
/// from the same source.
pub type DirectoryError = CredentialError;

/// The valid entries of a directory, and the errors of its invalid entries. An invalid entry therefore does not hide
/// the valid ones.
#[derive(Debug)]
#[non_exhaustive]
pub struct Listed<T> {
    /// The valid entries.
    pub entries: Vec<T>,
    /// The errors. Each error names its entry.
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
    /// Creates a server of `tenant` whose endpoint is `url`.
    pub fn at(url: Url, id: impl Into<String>, tenant: impl Into<String>) -> Self {
        Self(Arc::new(Inner { id: id.into(), tenant: tenant.into(), url, subscriber: None }))
    }

    /// Creates a server without tenants whose endpoint is `url`.
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

    /// Returns the tenant whose principals can use the server, or `None` if all principals can use it.
    pub fn subscriber(&self) -> Option<&Tenant> {
        self.0.subscriber.as_ref()
    }

    /// Returns true if this principal may use the server.
    pub(crate) fn is_available_to(&self, principal: &Principal) -> bool {
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
        let mut debug_struct = formatter.debug_struct("Server");
        debug_struct.field("id", id).field("tenant", tenant).field("url", &auth_http::redacted(url).to_string());
        debug_struct.field("subscriber", subscriber).finish()
    }
}

/// The address of an A2A agent in a directory: its id, its tenant, its URL, and the location of its card. Clones are
/// cheap.
///
/// ```
/// use agent_gateway::AgentAddress;
///
/// let agent = AgentAddress::new("https://agents.example/recipes".parse()?, "recipes");
/// assert_eq!(agent.card_url().as_str(), "https://agents.example/recipes/.well-known/agent-card.json");
/// # Ok::<(), url::ParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentAddress {
    agent: Server,
    card_url: Arc<Url>,
}

impl AgentAddress {
    /// Creates the address of an agent without tenants at `url`. Its card is at `.well-known/agent-card.json` below
    /// `url`.
    pub fn new(url: Url, id: impl Into<String>) -> Self {
        Self::at(url, id, "")
    }

    /// Creates the address of an agent at `url`, for a tenant of the agent.
    pub fn at(url: Url, id: impl Into<String>, tenant: impl Into<String>) -> Self {
        let mut card_url = url.clone();
        let root = card_url.path().trim_end_matches('/').to_owned();
        card_url.set_path(&format!("{root}/{CARD_PATH}"));
        card_url.set_fragment(None);
        Self { agent: Server::at(url, id, tenant), card_url: Arc::new(card_url) }
    }

    /// Sets the location of the card, if it is not the well-known one.
    pub fn with_card_url(self, card_url: Url) -> Self {
        Self { card_url: Arc::new(card_url), ..self }
    }

    /// Limits the agent to principals of this tenant.
    pub fn with_subscriber(self, subscriber: Tenant) -> Self {
        Self { agent: self.agent.with_subscriber(subscriber), ..self }
    }

    /// Returns the id of the agent in its directory.
    pub fn id(&self) -> &str {
        self.agent.id()
    }

    /// Returns the tenant of the agent, or an empty string if it has none.
    pub fn tenant(&self) -> &str {
        self.agent.tenant()
    }

    /// Returns the URL of the agent.
    pub fn url(&self) -> &Url {
        self.agent.url()
    }

    /// Returns the URL of the card.
    pub fn card_url(&self) -> &Url {
        &self.card_url
    }

    /// Returns the tenant whose principals can use the agent, or `None` if all principals can use it.
    pub fn subscriber(&self) -> Option<&Tenant> {
        self.agent.subscriber()
    }

    /// Returns true if this principal may use the agent.
    pub(crate) fn is_available_to(&self, principal: &Principal) -> bool {
        self.agent.is_available_to(principal)
    }
}

impl fmt::Display for AgentAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.agent.fmt(formatter)
    }
}

impl fmt::Debug for AgentAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let card_url = auth_http::redacted(&self.card_url).to_string();
        formatter.debug_struct("AgentAddress").field("agent", &self.agent).field("card_url", &card_url).finish()
    }
}

#[async_trait]
impl ServerDirectory for Vec<Server> {
    async fn servers(&self) -> Result<Vec<Server>, DirectoryError> {
        Ok(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_is_below_the_url_of_the_agent() {
        for (url, expected_card_url) in [
            ("https://a.test", "https://a.test/.well-known/agent-card.json"),
            ("https://a.test/", "https://a.test/.well-known/agent-card.json"),
            ("https://a.test/v1/a2a/x%3Ay/1/#f", "https://a.test/v1/a2a/x%3Ay/1/.well-known/agent-card.json"),
        ] {
            assert_eq!(AgentAddress::new(url.parse().unwrap(), "a").card_url().as_str(), expected_card_url);
        }
    }

    #[test]
    fn queries_and_passwords_of_urls_are_not_shown() {
        let agent = AgentAddress::new("https://u:canary@a.test/?k=canary".parse().unwrap(), "a");
        assert!(!format!("{agent:?} {agent}").contains("canary"), "{agent:?}");
    }
}
