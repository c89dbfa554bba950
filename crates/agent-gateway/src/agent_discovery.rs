use std::future::IntoFuture;

use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt, iter};

use crate::agent_card::{AgentCard, AgentCardError, RequestContext};
use crate::core::Core;
use crate::filter::Filter;
use crate::principal::Principal;
use crate::server::AgentAddress;
use crate::transport::CorrelationId;

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

/// The result of listing agents: the agents with a valid card, and the errors of the others.
#[derive(Debug)]
#[non_exhaustive]
pub struct Agents {
    /// The agents, in the order of the directory.
    pub agents: Vec<Agent>,
    /// The errors of invalid entries of the directory, and then the errors of agents, in the order of the agents. Each
    /// error of an agent names the agent ([`AgentCardError::agent`]).
    pub errors: Vec<AgentCardError>,
}

/// A request for the list of agents, which starts when it is awaited: see
/// [`Gateway::list_agents`](crate::Gateway::list_agents).
#[must_use = "no request is sent before it is awaited"]
#[derive(Debug)]
pub struct AgentDiscovery<'a> {
    gateway: &'a Core,
    principal: &'a Principal,
    filter: &'a AgentFilter,
    correlation: CorrelationId,
    strict: bool,
}

impl AgentFilter {
    /// Creates a filter that selects all agents.
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects the agents with this id. Further calls select further ids. Agents with other ids receive no request.
    pub fn with_agent(mut self, id: impl Into<String>) -> Self {
        self.0.ids.insert(id.into());
        self
    }

    /// Selects agents by the name on their card. Further calls select further names. If ids are also selected, an agent
    /// must match both.
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
        Self { gateway, principal, filter, correlation: CorrelationId::random(), strict: false }
    }

    /// Makes the discovery fail at the first invalid entry or card.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Sets the correlation id (`x-correlation-id`). The gateway and the agents write it to their logs. The default is
    /// a random UUID.
    pub fn with_correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation = CorrelationId(id.into());
        self
    }

    async fn run(self) -> Result<Agents, AgentCardError> {
        let Self { gateway, principal, filter: AgentFilter(filter), correlation, strict } = self;
        let listed = gateway.directory.agents_for(principal).await.map_err(AgentCardError::directory)?;
        let mut result =
            Agents { agents: Vec::new(), errors: listed.errors.into_iter().map(AgentCardError::entry).collect() };
        let addresses = listed.entries.into_iter().chain(gateway.agents.added_agents.clone()).collect();
        let addresses = filter.select(addresses, AgentAddress::id).map_err(AgentCardError::unlisted)?;
        let context = RequestContext { identities: &gateway.identities, principal, correlation: &correlation };
        let mut requests = iter(addresses.into_iter().enumerate())
            .map(|(index, address)| async move {
                let card = fetch_card(gateway, &address, context).await;
                (index, card.map(|card| Agent { address, card }))
            })
            .buffer_unordered(gateway.parallel_servers);
        let mut outcomes = Vec::new();
        while let Some((index, outcome)) = requests.next().await {
            outcomes.push((index, outcome));
        }
        outcomes.sort_by_key(|(index, _)| *index);
        for (_, outcome) in outcomes {
            match outcome {
                Ok(agent) if filter.matches_name(agent.card.name()) => result.agents.push(agent),
                Ok(_) => {}
                Err(error) => result.errors.push(error),
            }
        }
        if strict && !result.errors.is_empty() { Err(result.errors.swap_remove(0)) } else { Ok(result) }
    }
}

impl<'a> IntoFuture for AgentDiscovery<'a> {
    type Output = Result<Agents, AgentCardError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Returns the card of an agent. Fails after the time limit of a discovery.
async fn fetch_card(
    gateway: &Core,
    agent: &AgentAddress,
    context: RequestContext<'_>,
) -> Result<AgentCard, AgentCardError> {
    let timeout = gateway.discovery_timeout;
    let card = tokio::time::timeout(timeout, gateway.agents.card(agent, context)).await;
    card.unwrap_or_else(|_| Err(AgentCardError::timeout(agent, timeout)))
}
