//! A client for MCP tools and A2A agents behind a gateway, for agents. It lists the tools of many servers in parallel and
//! calls them with a token of the system or of a user.
//!
//! - [`Gateway`] lists and calls tools. Sessions are reused; tokens are cached and refreshed before they expire. A
//!   token that a server rejects is replaced once, also within a session.
//! - [`CredentialSource`] provides the credentials of the agent: a [`ServiceBinding`], the [`Environment`], or
//!   [`Credentials`] of the caller. A certificate that is replaced on disk takes effect within seconds.
//! - [`McpAuthorization`] obtains tokens for servers that are not behind a gateway, at the authorization server of each.
//! - [`ServerDirectory`] lists the servers and the agents. [`Destinations`] provides those of several tenants, and their
//!   credentials.
//! - [`Principal`] is the identity of a call: the system or a user, of a tenant if there are several. A call with a missing
//!   user assertion fails, and is not made as the system.
//! - [`Gateway::list_agents`] fetches the cards of A2A agents and validates them ([`AgentCard`]).
//!
//! ```no_run
//! use agent_gateway::{Gateway, Principal, ToolFilter, User};
//! use auth_core::Secret;
//! use serde_json::json;
//!
//! # async fn example(token_of_the_user: Secret) -> Result<(), Box<dyn std::error::Error>> {
//! let gateway = Gateway::from_environment()?.build();
//! let found = gateway.list_tools(&Principal::System, &ToolFilter::new()).await?;
//! for error in &found.errors {
//!     eprintln!("{error}");
//! }
//! let user = Principal::User(User::new(token_of_the_user)?);
//! if let Some(tool) = found.tools.iter().find(|tool| tool.name() == "find_order") {
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
