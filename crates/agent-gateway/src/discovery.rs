use std::future::IntoFuture;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt, iter};

use crate::authorization::within;
use crate::core::Core;
use crate::error::GatewayError;
use crate::filter::Filter;
use crate::listing::ToolList;
use crate::principal::Principal;
use crate::server::Server;
use crate::tool::Tool;
use crate::tool_cache::SessionKey;
use crate::transport::Correlation;

/// A filter for tools. The default selects all tools.
///
/// ```
/// use agent_gateway::ToolFilter;
///
/// let filter = ToolFilter::new().with_server("orders").with_name("find_order");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolFilter(Filter);

/// The result of a discovery: the tools, and the errors of the servers that failed.
///
/// A server may have both: a tool that is not valid, or a list that does not end, is an error, and the other tools of the
/// server are listed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Discovered {
    /// The tools, in the order of their servers.
    pub tools: Vec<Tool>,
    /// The errors of entries of the directory that are not valid; then those of the servers, in their order, each of which
    /// names its server ([`GatewayError::server`]).
    pub errors: Vec<GatewayError>,
}

/// A discovery that starts when it is awaited: see [`Gateway::list_tools`](crate::Gateway::list_tools).
#[must_use = "no request is sent before it is awaited"]
#[derive(Debug)]
pub struct Discovery<'a> {
    gateway: &'a Core,
    principal: &'a Principal,
    filter: &'a ToolFilter,
    correlation: Correlation,
    strict: bool,
}

impl ToolFilter {
    /// Creates a filter that selects all tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects the servers with this id. Call it again to select more. Other servers receive no request.
    pub fn with_server(mut self, id: impl Into<String>) -> Self {
        self.0.ids.insert(id.into());
        self
    }

    /// Selects tools by the name on their server. Call it again to select more.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.0.names.insert(name.into());
        self
    }
}

impl<'a> Discovery<'a> {
    pub(crate) fn new(gateway: &'a Core, principal: &'a Principal, filter: &'a ToolFilter) -> Self {
        Self { gateway, principal, filter, correlation: Correlation::random(), strict: false }
    }

    /// Makes the discovery fail if a server fails, or if a tool is not valid.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Sets the correlation id (`x-correlation-id`), which the gateway and the servers write to their logs. The default is a
    /// random UUID.
    pub fn with_correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation = Correlation(id.into());
        self
    }

    async fn run(self) -> Result<Discovered, GatewayError> {
        let Self { gateway, principal, filter: ToolFilter(filter), correlation, strict } = self;
        let listed = gateway.directory.servers_for(principal).await.map_err(GatewayError::directory)?;
        let invalid: Vec<_> = listed.errors.into_iter().map(GatewayError::entry).collect();
        let invalid = if strict { no_errors(invalid)? } else { invalid };
        let servers = filter.selected(listed.entries, Server::id).map_err(GatewayError::unlisted)?;
        let correlation = &correlation;
        let mut lists = iter(servers.into_iter().enumerate())
            .map(|(place, server)| async move {
                let list = list(gateway, &server, principal, correlation).await;
                (place, list.map(|list| (server, list)))
            })
            .buffer_unordered(gateway.parallel_servers);
        let mut found = Vec::new();
        while let Some((place, list)) = lists.next().await {
            let list = match list {
                Err(error) if strict => return Err(error),
                list => list,
            };
            if let (true, Ok((server, tools))) = (strict, &list)
                && let Some(error) = tools.errors(server).next()
            {
                return Err(error);
            }
            found.push((place, list));
        }
        found.sort_by_key(|(place, _)| *place);
        let mut discovered = Discovered { tools: Vec::new(), errors: invalid };
        for (_, list) in found {
            match list {
                Ok((server, list)) => {
                    discovered.tools.extend(list.tools.iter().filter(|tool| filter.admits(tool.name())).cloned());
                    discovered.errors.extend(list.errors(&server));
                }
                Err(error) => discovered.errors.push(error),
            }
        }
        Ok(discovered)
    }
}

impl<'a> IntoFuture for Discovery<'a> {
    type Output = Result<Discovered, GatewayError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Returns the first error, if there is one.
fn no_errors(errors: Vec<GatewayError>) -> Result<Vec<GatewayError>, GatewayError> {
    errors.into_iter().next().map_or(Ok(Vec::new()), Err)
}

/// Returns all tools of one server, from the cache or from the server.
async fn list(
    gateway: &Core,
    server: &Server,
    principal: &Principal,
    correlation: &Correlation,
) -> Result<Arc<ToolList>, GatewayError> {
    if !server.admits(principal) {
        return Err(GatewayError::tenant(server));
    }
    let (key, tool_cache) = (SessionKey::new(server, principal), &gateway.tool_cache);
    if let Some(tools) = tool_cache.get(&key) {
        return Ok(tools);
    }
    let epoch = tool_cache.epoch();
    let asking = async { gateway.sessions.session(&key, principal).await?.tools(correlation).await };
    let longest = gateway.discovery_timeout;
    let logins = gateway.identities.logins().of(server.url(), &principal.token_request());
    let tools = within(longest, logins, asking).await;
    let tools = Arc::new(tools.unwrap_or_else(|| Err(GatewayError::timeout(server, longest)))?);
    tool_cache.keep(&key, &tools, epoch);
    Ok(tools)
}
