//! A client for agents that use MCP tools and A2A agents behind a gateway. It lists the tools of many servers in
//! parallel, and calls them with a token of the system or of a user.
//!
//! - [`Gateway`] lists and calls tools. Sessions are reused; tokens are cached and refreshed before they expire. If a
//!   server rejects a token, the token is replaced once, also within a session.
//! - [`CredentialSource`] provides the credentials of the agent: a [`ServiceBinding`], the [`Environment`], or
//!   [`Credentials`] of the caller. A new certificate on disk takes effect within seconds.
//! - [`McpAuthorization`] obtains tokens for servers that are not behind a gateway, from their authorization servers.
//! - [`ServerDirectory`] lists the servers and the agents. [`Destinations`] provides the servers, agents and
//!   credentials of several tenants.
//! - [`Principal`] is the identity of a call: the system or a user, optionally of a tenant. A call without the
//!   assertion of its user fails; it does not run as the system.
//! - [`Gateway::list_agents`] fetches the cards of A2A agents and validates them ([`AgentCard`]).
//!
//! ```no_run
//! use agent_gateway::{Gateway, Principal, ToolFilter, User};
//! use auth_core::Secret;
//! use serde_json::json;
//!
//! # async fn example(user_token: Secret) -> Result<(), Box<dyn std::error::Error>> {
//! let gateway = Gateway::from_environment()?.build();
//! let discovered = gateway.list_tools(&Principal::System, &ToolFilter::new()).await?;
//! for error in &discovered.errors {
//!     eprintln!("{error}");
//! }
//! let user = Principal::User(User::new(user_token)?);
//! if let Some(tool) = discovered.tools.iter().find(|tool| tool.name() == "find_order") {
//!     let arguments = json!({ "number": 42 }).as_object().cloned().unwrap_or_default();
//!     println!("{}", gateway.call_tool(tool, &user, arguments).await?.text());
//! }
//! # Ok(()) }
//! ```

mod agent_card;
mod agent_discovery;
mod assertion;
mod authorization;
mod call;
mod core;
mod credentials;
mod discovery;
mod error;
mod filter;
mod gateway;
mod integration;
mod listing;
mod mcp_json;
mod names;
mod principal;
mod progress;
mod result;
mod schema;
mod server;
mod session;
mod tenant;
mod tokens;
mod tool;
mod tool_cache;
mod transport;

pub use agent_card::{AgentCapabilities, AgentCard, AgentCardError, AgentExtension, AgentInterface, AgentSkill};
pub use agent_discovery::{Agent, AgentDiscovery, AgentFilter, Agents};
pub use authorization::{
    AuthorizationError, ClientAuthentication, ClientRegistration, Interaction, LoginPage, McpAuthorization,
    MemoryRegistrations, RegistrationStore,
};
pub use call::ToolCall;
pub use credentials::{CredentialError, CredentialSource, Credentials};
pub use discovery::{Discovered, Discovery, ToolFilter};
pub use error::GatewayError;
pub use gateway::{Gateway, GatewayBuilder, GatewayToken};
pub use integration::{DestinationBinding, Destinations, Environment, ServiceBinding};
pub use mcp_json::McpJson;
pub use names::ModelNames;
pub use principal::{AssertionError, Principal, User};
pub use progress::Progress;
pub use result::{Content, ToolResult};
pub use server::{AgentAddress, DirectoryError, Listed, Server, ServerDirectory};
pub use tenant::{Tenant, TenantError};
pub use tool::Tool;

/// Compiles the examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/agent-gateway.md")]
mod guide {}
