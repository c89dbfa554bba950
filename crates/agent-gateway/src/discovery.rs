use std::future::IntoFuture;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt, iter};

use crate::authorization::timeout_without_logins;
use crate::core::Core;
use crate::error::GatewayError;
use crate::filter::Filter;
use crate::listing::ToolList;
use crate::principal::Principal;
use crate::server::Server;
use crate::tool::Tool;
use crate::tool_cache::SessionKey;
use crate::transport::CorrelationId;

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
/// A server can have both: an invalid tool, or a list that does not end, is an error, but the other tools of the server
/// are listed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Discovered {
    /// The tools, in the order of their servers.
    pub tools: Vec<Tool>,
    /// The errors of invalid entries of the directory, and then the errors of servers, in the order of the servers.
    /// Each error of a server names the server ([`GatewayError::server`]).
    pub errors: Vec<GatewayError>,
}

/// A discovery that starts when it is awaited: see [`Gateway::list_tools`](crate::Gateway::list_tools).
#[must_use = "no request is sent before it is awaited"]
#[derive(Debug)]
pub struct Discovery<'a> {
    gateway: &'a Core,
    principal: &'a Principal,
    filter: &'a ToolFilter,
    correlation: CorrelationId,
    strict: bool,
}

impl ToolFilter {
    /// Creates a filter that selects all tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects the servers with this id. Further calls select further ids. Servers with other ids receive no request.
    pub fn with_server(mut self, id: impl Into<String>) -> Self {
        self.0.ids.insert(id.into());
        self
    }

    /// Selects tools by the name on their server. Further calls select further names.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.0.names.insert(name.into());
        self
    }
}

impl<'a> Discovery<'a> {
    pub(crate) fn new(gateway: &'a Core, principal: &'a Principal, filter: &'a ToolFilter) -> Self {
        Self { gateway, principal, filter, correlation: CorrelationId::random(), strict: false }
    }

    /// Makes the discovery fail at the first invalid entry, failing server or invalid tool.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Sets the correlation id (`x-correlation-id`). The gateway and the servers write it to their logs. The default is
    /// a random UUID.
    pub fn with_correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation = CorrelationId(id.into());
        self
    }

    async fn run(self) -> Result<Discovered, GatewayError> {
        let Self { gateway, principal, filter: ToolFilter(filter), correlation, strict } = self;
        let listed = gateway.directory.servers_for(principal).await.map_err(GatewayError::directory)?;
        let entry_errors: Vec<_> = listed.errors.into_iter().map(GatewayError::entry).collect();
        let entry_errors = if strict { fail_at_first(entry_errors)? } else { entry_errors };
        let servers = filter.select(listed.entries, Server::id).map_err(GatewayError::unlisted)?;
        let correlation = &correlation;
        let mut requests = iter(servers.into_iter().enumerate())
            .map(|(index, server)| async move {
                let list = fetch_list(gateway, &server, principal, correlation).await;
                (index, list.map(|list| (server, list)))
            })
            .buffer_unordered(gateway.parallel_servers);
        let mut lists = Vec::new();
        while let Some((index, list)) = requests.next().await {
            let list = match list {
                Err(error) if strict => return Err(error),
                list => list,
            };
            if let (true, Ok((server, tools))) = (strict, &list)
                && let Some(error) = tools.errors(server).next()
            {
                return Err(error);
            }
            lists.push((index, list));
        }
        lists.sort_by_key(|(index, _)| *index);
        let mut discovered = Discovered { tools: Vec::new(), errors: entry_errors };
        for (_, list) in lists {
            match list {
                Ok((server, list)) => {
                    discovered.tools.extend(list.tools.iter().filter(|tool| filter.matches_name(tool.name())).cloned());
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

/// Fails with the first error, if there is one.
fn fail_at_first(errors: Vec<GatewayError>) -> Result<Vec<GatewayError>, GatewayError> {
    errors.into_iter().next().map_or(Ok(Vec::new()), Err)
}

/// Returns all tools of one server, from the cache or from the server.
async fn fetch_list(
    gateway: &Core,
    server: &Server,
    principal: &Principal,
    correlation: &CorrelationId,
) -> Result<Arc<ToolList>, GatewayError> {
    if !server.is_available_to(principal) {
        return Err(GatewayError::tenant(server));
    }
    let (key, tool_cache) = (SessionKey::new(server, principal), &gateway.tool_cache);
    if let Some(tools) = tool_cache.get(&key) {
        return Ok(tools);
    }
    let epoch = tool_cache.epoch();
    let request = async { gateway.sessions.session(&key, principal).await?.tools(correlation).await };
    let timeout = gateway.discovery_timeout;
    let logins = gateway.identities.logins().watch(server.url(), &principal.token_request());
    let tools = timeout_without_logins(timeout, logins, request).await;
    let tools = Arc::new(tools.unwrap_or_else(|| Err(GatewayError::timeout(server, timeout)))?);
    tool_cache.insert(&key, &tools, epoch);
    Ok(tools)
}
