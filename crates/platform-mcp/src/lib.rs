//! An MCP server for the platform: read-only tools for agents, and submission within a budget.
//!
//! [`PlatformServer`] serves a [`Client`](platform_resources::Client) over stdio, or over HTTP on loopback with a
//! token. No tool deletes or shares anything, or returns a signed URL or a credential. Submission is offered only with
//! a [`Budget`].
//!
//! ```no_run
//! use platform_mcp::PlatformServer;
//! use platform_resources::Client;
//!
//! # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
//! PlatformServer::builder(client).with_folder("results").build()?.serve_stdio().await?;
//! # Ok(()) }
//! ```

mod budget;
mod editors;
mod error;
mod folders;
mod guard;
mod http;
mod prompts;
mod resources;
mod schema;
mod server;
mod shared;
mod tools;

pub use budget::{Budget, BudgetError, BudgetUsage, Limits, Reservation};
pub use editors::Editor;
pub use http::HttpServer;
pub use server::{PlatformServer, PlatformServerBuilder, ServeError};
