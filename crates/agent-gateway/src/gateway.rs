mod builder;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use auth_core::TokenError;
use serde_json::{Map, Value};

use crate::call::ToolCall;
use crate::credentials::{CredentialError, CredentialSource, Environment, ServiceBinding};
use crate::discovery::Discovery;
use crate::identity::Identities;
use crate::server::ServerDirectory;
use crate::session::Sessions;
use crate::toolbox::Toolbox;
use crate::{Principal, Tool, ToolFilter};

pub use builder::GatewayBuilder;

/// MCP tools behind a gateway, for the system and for users. Cheap to clone; clones share sessions, tokens and what is
/// known of tools.
///
/// Needs a tokio runtime, on which sessions and attempts to obtain tokens run.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    identities: Arc<Identities>,
    directory: Arc<dyn ServerDirectory>,
    sessions: Sessions,
    toolbox: Arc<Toolbox>,
    parallel_servers: usize,
    discovery_timeout: Duration,
    call_timeout: Duration,
}

impl Gateway {
    /// Starts to set up a gateway: with what the agent proves itself, and which servers there are.
    pub fn builder(
        credentials: impl CredentialSource + 'static,
        servers: impl ServerDirectory + 'static,
    ) -> GatewayBuilder {
        GatewayBuilder::new(Arc::new(credentials), Arc::new(servers))
    }

    /// Starts to set up a gateway with the [`ServiceBinding`] that there is, or else with the [`Environment`].
    ///
    /// # Errors
    ///
    /// There is neither, or one that cannot be used.
    pub fn from_environment() -> Result<GatewayBuilder, CredentialError> {
        let binding = ServiceBinding::from_environment();
        match binding.find() {
            Ok(_) => Ok(Self::builder(binding.clone(), binding)),
            Err(error) if error.is_no_binding() && Environment::is_there() => {
                let environment = Environment::read()?;
                Ok(Self::builder(environment.clone(), environment))
            }
            Err(error) => Err(error),
        }
    }

    /// Asks the servers which tools they have for `principal`, at the same time. A server that fails does not hide the
    /// tools of the others, nor is it hidden: its error is in the result, unless the discovery is
    /// [`strict`](Discovery::strict).
    ///
    /// What a server has said is kept, for a while or until it says that it has changed.
    ///
    /// # Errors
    ///
    /// Nobody knows which servers there are, or the filter names one that is not listed.
    pub fn list_tools<'a>(&'a self, principal: &'a Principal, filter: &'a ToolFilter) -> Discovery<'a> {
        Discovery::new(self, principal, filter)
    }

    /// Calls a tool for `principal`. The arguments are checked against the schema of the tool first.
    ///
    /// A tool may have done its work even if the call fails, unless the error says that nothing was sent.
    ///
    /// # Errors
    ///
    /// [`GatewayError::tool_result`](crate::GatewayError::tool_result): the tool itself failed.
    /// [`GatewayError::is_arguments`](crate::GatewayError::is_arguments),
    /// [`is_token`](crate::GatewayError::is_token) and
    /// [`is_credentials`](crate::GatewayError::is_credentials): it was not called. Otherwise there was no answer, or no
    /// good one.
    pub fn call_tool<'a>(
        &'a self,
        tool: &'a Tool,
        principal: &'a Principal,
        arguments: Map<String, Value>,
    ) -> ToolCall<'a> {
        ToolCall::new(self, tool, principal, arguments)
    }

    /// Forgets what is known of tools: the next discovery asks the servers.
    pub fn evict(&self) {
        self.0.toolbox.forget_all();
    }

    /// Forgets all tokens, in whatever cache they are: the next request obtains another.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the cache could not be cleared; what is in it may be served again.
    pub async fn clear_tokens(&self) -> Result<(), TokenError> {
        match self.0.identities.known() {
            Some((identity, _)) => identity.tokens.clear().await,
            None => Ok(()),
        }
    }

    pub(crate) fn directory(&self) -> &dyn ServerDirectory {
        &*self.0.directory
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    pub(crate) fn toolbox(&self) -> &Toolbox {
        &self.0.toolbox
    }

    pub(crate) fn parallel_servers(&self) -> usize {
        self.0.parallel_servers
    }

    pub(crate) fn discovery_timeout(&self) -> Duration {
        self.0.discovery_timeout
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        self.0.call_timeout
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { identities, directory, .. } = &*self.0;
        let mut shown = formatter.debug_struct("Gateway");
        shown.field("identities", identities).field("directory", directory).finish_non_exhaustive()
    }
}
