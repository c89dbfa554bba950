use std::fmt;
use std::sync::Arc;

use url::Url;

use crate::principal::Principal;
use crate::tenant::Tenant;

/// The path of the agent card below the URL of an agent (A2A 1.0, section 8.2; RFC 8615).
const WELL_KNOWN: &str = ".well-known/agent-card.json";

/// The address of an A2A agent in a directory: its id, its tenant, its URL, and the location of its card. Clones are cheap.
///
/// ```
/// use agent_gateway::AgentAddress;
///
/// let agent = AgentAddress::new("https://agents.example/recipes".parse()?, "recipes");
/// assert_eq!(agent.card_url().as_str(), "https://agents.example/recipes/.well-known/agent-card.json");
/// # Ok::<(), url::ParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentAddress(Arc<Inner>);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Inner {
    id: String,
    tenant: String,
    url: Url,
    card_url: Url,
    subscriber: Option<Tenant>,
}

impl AgentAddress {
    /// Creates the address of an agent at `url`, without tenants. Its card is at `.well-known/agent-card.json` below `url`.
    pub fn new(url: Url, id: impl Into<String>) -> Self {
        Self::at(url, id, "")
    }

    /// Creates the address of an agent at `url`, for a tenant of the agent.
    pub fn at(url: Url, id: impl Into<String>, tenant: impl Into<String>) -> Self {
        let mut card_url = url.clone();
        let root = card_url.path().trim_end_matches('/').to_owned();
        card_url.set_path(&format!("{root}/{WELL_KNOWN}"));
        card_url.set_fragment(None);
        Self(Arc::new(Inner { id: id.into(), tenant: tenant.into(), url, card_url, subscriber: None }))
    }

    /// Sets the location of the card, if it is not the well-known one.
    pub fn with_card_url(self, card_url: Url) -> Self {
        self.with(|inner| inner.card_url = card_url)
    }

    /// Limits the agent to principals of this tenant.
    pub fn with_subscriber(self, subscriber: Tenant) -> Self {
        self.with(|inner| inner.subscriber = Some(subscriber))
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Returns the id of the agent in its directory.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Returns the tenant of the agent, or an empty string if it has none.
    pub fn tenant(&self) -> &str {
        &self.0.tenant
    }

    /// Returns the URL of the agent.
    pub fn url(&self) -> &Url {
        &self.0.url
    }

    /// Returns the URL of the card.
    pub fn card_url(&self) -> &Url {
        &self.0.card_url
    }

    /// Returns the tenant whose principals may use the agent, or `None` if all may.
    pub fn subscriber(&self) -> Option<&Tenant> {
        self.0.subscriber.as_ref()
    }

    /// Returns true if this principal may use the agent.
    pub(crate) fn admits(&self, principal: &Principal) -> bool {
        self.subscriber().is_none_or(|subscriber| principal.tenant() == Some(subscriber))
    }
}

impl fmt::Display for AgentAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`", self.0.id)?;
        if self.0.tenant.is_empty() { Ok(()) } else { write!(formatter, " of the tenant `{}`", self.0.tenant) }
    }
}

impl fmt::Debug for AgentAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { id, tenant, url, card_url, subscriber } = &*self.0;
        let mut shown = formatter.debug_struct("AgentAddress");
        shown.field("id", id).field("tenant", tenant).field("url", &auth_http::redacted(url).to_string());
        shown.field("card_url", &auth_http::redacted(card_url).to_string()).field("subscriber", subscriber).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_is_below_the_url_of_the_agent() {
        for (url, card) in [
            ("https://a.test", "https://a.test/.well-known/agent-card.json"),
            ("https://a.test/", "https://a.test/.well-known/agent-card.json"),
            ("https://a.test/v1/a2a/x%3Ay/1/#f", "https://a.test/v1/a2a/x%3Ay/1/.well-known/agent-card.json"),
        ] {
            assert_eq!(AgentAddress::new(url.parse().unwrap(), "a").card_url().as_str(), card);
        }
    }

    #[test]
    fn queries_and_passwords_of_urls_are_not_shown() {
        let agent = AgentAddress::new("https://u:canary@a.test/?k=canary".parse().unwrap(), "a");
        assert!(!format!("{agent:?} {agent}").contains("canary"), "{agent:?}");
    }
}
