use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::agent_card::AgentCards;
use crate::server::ServerDirectory;
use crate::session::Sessions;
use crate::tool_cache::ToolCache;
use crate::transport::Identities;

/// The state of a gateway. Its clones, calls and discoveries share it.
pub(crate) struct Core {
    pub(crate) identities: Arc<Identities>,
    pub(crate) directory: Arc<dyn ServerDirectory>,
    pub(crate) sessions: Sessions,
    pub(crate) tool_cache: Arc<ToolCache>,
    pub(crate) agents: AgentCards,
    pub(crate) parallel_servers: usize,
    pub(crate) discovery_timeout: Duration,
    pub(crate) call_timeout: Duration,
}

impl fmt::Debug for Core {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identities, directory, .. } = self;
        let mut debug_struct = formatter.debug_struct("Gateway");
        debug_struct.field("identities", identities).field("directory", directory).finish_non_exhaustive()
    }
}
