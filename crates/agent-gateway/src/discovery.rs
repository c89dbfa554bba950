use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt, iter};

use crate::core::Core;
use crate::error::GatewayError;
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
/// let filter = ToolFilter::new().with_ord_id("sap.x:apiResource:orders:v1").with_name("find_order");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolFilter {
    ord_ids: BTreeSet<String>,
    names: BTreeSet<String>,
}

/// The result of a discovery: the tools, and the errors of the servers that failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Discovered {
    /// The tools, in the order of their servers.
    pub tools: Vec<Tool>,
    /// The errors, in the order of the servers; each names its server ([`GatewayError::server`]).
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

    /// Selects the servers with this API (Open Resource Discovery id). Call it again to select more. Other servers receive
    /// no request.
    pub fn with_ord_id(mut self, ord_id: impl Into<String>) -> Self {
        self.ord_ids.insert(ord_id.into());
        self
    }

    /// Selects tools by the name on their server. Call it again to select more.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.names.insert(name.into());
        self
    }

    /// Returns the selected servers.
    fn servers(&self, listed: Vec<Server>) -> Result<Vec<Server>, GatewayError> {
        let is_listed = |ord_id: &&String| listed.iter().any(|server| server.ord_id() == **ord_id);
        if let Some(ord_id) = self.ord_ids.iter().find(|ord_id| !is_listed(ord_id)) {
            return Err(GatewayError::unlisted(ord_id));
        }
        let wanted = |server: &Server| self.ord_ids.is_empty() || self.ord_ids.contains(server.ord_id());
        Ok(listed.into_iter().filter(wanted).collect())
    }

    fn admits(&self, tool: &Tool) -> bool {
        self.names.is_empty() || self.names.contains(tool.name())
    }
}

impl<'a> Discovery<'a> {
    pub(crate) fn new(gateway: &'a Core, principal: &'a Principal, filter: &'a ToolFilter) -> Self {
        Self { gateway, principal, filter, correlation: Correlation::random(), strict: false }
    }

    /// Fails if one server fails.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Sets the correlation id that gateway and servers log (`x-correlation-id`). The default is a random UUID.
    pub fn with_correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation = Correlation(id.into());
        self
    }

    async fn run(self) -> Result<Discovered, GatewayError> {
        let Self { gateway, principal, filter, correlation, strict } = self;
        let listed = gateway.directory.servers().await.map_err(GatewayError::directory)?;
        let servers = filter.servers(listed)?;
        let correlation = &correlation;
        let mut lists = iter(servers.into_iter().enumerate())
            .map(|(place, server)| async move { (place, list(gateway, server, principal, correlation).await) })
            .buffer_unordered(gateway.parallel_servers);
        let mut found = Vec::new();
        while let Some((place, list)) = lists.next().await {
            match list {
                Err(error) if strict => return Err(error),
                list => found.push((place, list)),
            }
        }
        found.sort_by_key(|(place, _)| *place);
        let mut discovered = Discovered { tools: Vec::new(), errors: Vec::new() };
        for (_, list) in found {
            match list {
                Ok(tools) => discovered.tools.extend(tools.iter().filter(|tool| filter.admits(tool)).cloned()),
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

/// Returns all tools of one server, from the cache or from the server.
async fn list(
    gateway: &Core,
    server: Server,
    principal: &Principal,
    correlation: &Correlation,
) -> Result<Arc<Vec<Tool>>, GatewayError> {
    let (key, tool_cache) = (SessionKey::new(&server, principal), &gateway.tool_cache);
    if let Some(tools) = tool_cache.get(&key) {
        return Ok(tools);
    }
    let epoch = tool_cache.epoch();
    let asking = async { gateway.sessions.session(&key, principal).await?.tools(correlation).await };
    let longest = gateway.discovery_timeout;
    let tools = tokio::time::timeout(longest, asking).await;
    let tools = Arc::new(tools.unwrap_or_else(|_| Err(GatewayError::timeout(&server, longest)))?);
    tool_cache.keep(&key, &tools, epoch);
    Ok(tools)
}
