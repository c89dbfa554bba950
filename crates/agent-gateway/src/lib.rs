//! A client for MCP tools behind a gateway, for agents. It lists the tools of many servers in parallel and calls them with
//! a token of the system or of a user.
//!
//! - [`Gateway`] lists and calls tools. Sessions are reused; tokens are cached and refreshed before they expire. A
//!   token that a server rejects is replaced once, also within a session.
//! - [`CredentialSource`] provides the credentials of the agent: a [`ServiceBinding`], the [`Environment`], or
//!   [`Credentials`] of the caller. A certificate that is replaced on disk takes effect within seconds.
//! - [`ServerDirectory`] lists the servers.
//! - [`Principal`] is the identity of a call. A call without a user is not made as the system by accident.
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

mod call;
mod core;
mod credentials;
mod discovery;
mod error;
mod gateway;
mod names;
mod principal;
mod progress;
mod result;
mod server;
mod session;
mod sources;
mod tokens;
mod tool;
mod tool_cache;
mod transport;

pub use call::ToolCall;
pub use credentials::{CredentialError, CredentialSource, Credentials};
pub use discovery::{Discovered, Discovery, ToolFilter};
pub use error::GatewayError;
pub use gateway::{Gateway, GatewayBuilder};
pub use names::ModelNames;
pub use principal::{AssertionError, Principal, User};
pub use progress::Progress;
pub use result::{Content, ToolResult};
pub use server::{DirectoryError, Server, ServerDirectory};
pub use sources::{Environment, ServiceBinding};
pub use tool::Tool;

/// Compiles the examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/agent-gateway.md")]
mod guide {}
