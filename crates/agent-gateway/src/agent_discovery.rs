use std::future::IntoFuture;

use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt, iter};

use crate::agent_card::{AgentCard, AgentCardError, Source};
use crate::core::Core;
use crate::filter::Filter;
use crate::principal::Principal;
use crate::server::AgentAddress;
use crate::transport::Correlation;

/// A filter for agents. The default selects all agents.
///
/// ```
/// use agent_gateway::AgentFilter;
///
/// let filter = AgentFilter::new().with_agent("recipes").with_name("Recipe Agent");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentFilter(Filter);

/// An A2A agent: its address in the directory, and its card.
#[derive(Clone, Debug)]
pub struct Agent {
    address: AgentAddress,
    card: AgentCard,
}

/// The result of listing agents: those whose card is valid, and the errors of the others.
#[derive(Debug)]
#[non_exhaustive]
pub struct Agents {
    /// The agents, in the order of the directory.
    pub agents: Vec<Agent>,
    /// The errors of entries of the directory that are not valid; then those of the agents, in their order, each of which
    /// names its agent ([`AgentCardError::agent`]).
    pub errors: Vec<AgentCardError>,
}

/// A list of agents that is requested when it is awaited: see [`Gateway::list_agents`](crate::Gateway::list_agents).
#[must_use = "no request is sent before it is awaited"]
#[derive(Debug)]
pub struct AgentDiscovery<'a> {
    gateway: &'a Core,
    principal: &'a Principal,
    filter: &'a AgentFilter,
    correlation: Correlation,
    strict: bool,
}

impl AgentFilter {
    /// Creates a filter that selects all agents.
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects the agents with this id. Call it again to select more. Other agents receive no request.
    pub fn with_agent(mut self, id: impl Into<String>) -> Self {
        self.0.ids.insert(id.into());
        self
    }

    /// Selects agents by the name on their card. Call it again to select more. An agent must match both filters.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.0.names.insert(name.into());
        self
    }
}

impl Agent {
    /// Returns the address of the agent in its directory.
    pub fn address(&self) -> &AgentAddress {
        &self.address
    }

    /// Returns the id of the agent in its directory.
    pub fn id(&self) -> &str {
        self.address.id()
    }

    /// Returns the card of the agent.
    pub fn card(&self) -> &AgentCard {
        &self.card
    }
}

impl<'a> AgentDiscovery<'a> {
    pub(crate) fn new(gateway: &'a Core, principal: &'a Principal, filter: &'a AgentFilter) -> Self {
        Self { gateway, principal, filter, correlation: Correlation::random(), strict: false }
    }

    /// Makes the discovery fail at the first invalid entry or card.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Sets the correlation id (`x-correlation-id`), which the gateway and the agents write to their logs. The default is a
    /// random UUID.
    pub fn with_correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation = Correlation(id.into());
        self
    }

    async fn run(self) -> Result<Agents, AgentCardError> {
        let Self { gateway, principal, filter: AgentFilter(filter), correlation, strict } = self;
        let listed = gateway.directory.agents_for(principal).await.map_err(AgentCardError::directory)?;
        let mut found =
            Agents { agents: Vec::new(), errors: listed.errors.into_iter().map(AgentCardError::entry).collect() };
        let addresses = listed.entries.into_iter().chain(gateway.agents.added.clone()).collect();
        let addresses = filter.selected(addresses, AgentAddress::id).map_err(AgentCardError::unlisted)?;
        let source = Source { identities: &gateway.identities, principal, correlation: &correlation };
        let mut cards = iter(addresses.into_iter().enumerate())
            .map(|(place, address)| async move {
                let card = card(gateway, &address, source).await;
                (place, card.map(|card| Agent { address, card }))
            })
            .buffer_unordered(gateway.parallel_servers);
        let mut outcomes = Vec::new();
        while let Some((place, outcome)) = cards.next().await {
            outcomes.push((place, outcome));
        }
        outcomes.sort_by_key(|(place, _)| *place);
        for (_, outcome) in outcomes {
            match outcome {
                Ok(agent) if filter.admits(agent.card.name()) => found.agents.push(agent),
                Ok(_) => {}
                Err(error) => found.errors.push(error),
            }
        }
        if strict && !found.errors.is_empty() { Err(found.errors.swap_remove(0)) } else { Ok(found) }
    }
}

impl<'a> IntoFuture for AgentDiscovery<'a> {
    type Output = Result<Agents, AgentCardError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Returns the card of an agent, within the time limit of a discovery.
async fn card(gateway: &Core, agent: &AgentAddress, source: Source<'_>) -> Result<AgentCard, AgentCardError> {
    let longest = gateway.discovery_timeout;
    let card = tokio::time::timeout(longest, gateway.agents.card(agent, source)).await;
    card.unwrap_or_else(|_| Err(AgentCardError::timeout(agent, longest)))
}
