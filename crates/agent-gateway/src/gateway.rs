mod builder;

use std::fmt;
use std::sync::Arc;

use auth_core::TokenError;
use serde_json::{Map, Value};

use crate::call::ToolCall;
use crate::core::Core;
use crate::credentials::{CredentialError, CredentialSource};
use crate::discovery::{Discovery, ToolFilter};
use crate::principal::Principal;
use crate::server::ServerDirectory;
use crate::sources::{Environment, ServiceBinding};
use crate::tool::Tool;

pub use builder::GatewayBuilder;

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

    /// Returns a builder that uses the [`ServiceBinding`], or the [`Environment`] if no binding exists.
    ///
    /// # Errors
    ///
    /// Neither exists, or the one that exists is not valid. An invalid binding is not replaced by the environment.
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
    /// - All other errors: the server refused the call, or its response is missing or not valid.
    pub fn call_tool<'a>(
        &'a self,
        tool: &'a Tool,
        principal: &'a Principal,
        arguments: Map<String, Value>,
    ) -> ToolCall<'a> {
        ToolCall::new(&self.0, tool, principal, arguments)
    }

    /// Deletes all cached tool lists, so that the next discovery sends requests.
    pub fn evict(&self) {
        self.0.tool_cache.forget_all();
    }

    /// Deletes all tokens from the cache. The next request obtains a new token.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the cache could not be cleared; its tokens may be served again.
    pub async fn clear_tokens(&self) -> Result<(), TokenError> {
        match self.0.identities.known() {
            Some((identity, _)) => identity.tokens.clear().await,
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
