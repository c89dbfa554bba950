mod builder;
mod token;

use std::fmt;
use std::sync::Arc;

use auth_core::TokenError;
use serde_json::{Map, Value};

use crate::agent_discovery::{AgentDiscovery, AgentFilter};
use crate::call::ToolCall;
use crate::core::Core;
use crate::credentials::CredentialSource;
use crate::discovery::{Discovery, ToolFilter};
use crate::principal::Principal;
use crate::server::ServerDirectory;
use crate::tool::Tool;

pub use builder::GatewayBuilder;
pub use token::GatewayToken;

/// A client for MCP tools behind a gateway, for the system and for users. It is cheap to clone; clones share sessions,
/// tokens and tool lists.
///
/// It requires a tokio runtime, on which sessions and token requests run.
#[derive(Clone)]
pub struct Gateway(Arc<Core>);

impl Gateway {
    /// Returns a builder for a gateway with these credentials and servers.
    pub fn builder(
        credentials: impl CredentialSource + 'static,
        servers: impl ServerDirectory + 'static,
    ) -> GatewayBuilder {
        GatewayBuilder::new(Arc::new(credentials), Arc::new(servers))
    }

    /// Lists the tools of all servers for `principal`, in parallel. The result contains the tools of the servers that
    /// respond, and the errors of those that fail, unless the discovery is [`strict`](Discovery::strict).
    ///
    /// A tool list is cached until its lifetime ends or the server reports a change.
    ///
    /// # Errors
    ///
    /// The list of servers cannot be read, or the filter names a server that is not listed.
    pub fn list_tools<'a>(&'a self, principal: &'a Principal, filter: &'a ToolFilter) -> Discovery<'a> {
        Discovery::new(&self.0, principal, filter)
    }

    /// Calls a tool for `principal`. The arguments are validated against the schema of the tool first.
    ///
    /// The tool may have run even if the call fails, unless the error states that nothing was sent.
    ///
    /// # Errors
    ///
    /// - [`GatewayError::tool_result`](crate::GatewayError::tool_result): the tool itself failed.
    /// - [`is_arguments`](crate::GatewayError::is_arguments), [`is_token_error`](crate::GatewayError::is_token_error),
    ///   [`is_credentials`](crate::GatewayError::is_credentials) and [`is_connect`](crate::GatewayError::is_connect):
    ///   the tool was not called.
    /// - [`authorization_error`](crate::GatewayError::authorization_error): the server requires a token that was not
    ///   obtained, or that the server does not accept. The tool was not called.
    /// - All other errors: the server refused the call, or did not send a valid response. The tool may have run.
    pub fn call_tool<'a>(
        &'a self,
        tool: &'a Tool,
        principal: &'a Principal,
        arguments: Map<String, Value>,
    ) -> ToolCall<'a> {
        ToolCall::new(&self.0, tool, principal, arguments)
    }

    /// Lists the A2A agents for `principal`, and fetches their cards in parallel. The result contains the agents whose
    /// card is valid, and the errors of the others, unless the list is [`strict`](AgentDiscovery::strict).
    ///
    /// A card is cached for the lifetime that its server specifies (`Cache-Control`), or else for the lifetime of tool
    /// lists. After that, it is requested again, with its entity tag if it has one.
    ///
    /// # Errors
    ///
    /// The list of agents cannot be read, or the filter names an agent that is not listed.
    pub fn list_agents<'a>(&'a self, principal: &'a Principal, filter: &'a AgentFilter) -> AgentDiscovery<'a> {
        AgentDiscovery::new(&self.0, principal, filter)
    }

    /// Deletes all cached tool lists, agent cards and directories, so that the next discovery sends requests.
    pub fn evict(&self) {
        self.0.directory.evict();
        self.0.tool_cache.invalidate_all();
        self.0.agents.cache.invalidate_all();
    }

    /// Deletes all tokens from the cache. The next request obtains a new token.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the cache could not be cleared, so its tokens may be used again.
    pub async fn clear_tokens(&self) -> Result<(), TokenError> {
        let Some((identity, _)) = self.0.identities.cached() else { return Ok(()) };
        match (&identity.tokens, &identity.authorizer) {
            (Some(tokens), _) => tokens.clear().await,
            (None, Some(authorizer)) => authorizer.clear().await,
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
