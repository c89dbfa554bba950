//! The gateway against MCP servers that are not behind it (`rmcp`), and the certified `oidc-provider` as their authorization
//! server.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod logins;
#[path = "../../../../tests/support/needs.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod needs;
mod orders;
#[path = "../../../../tests/support/packages.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod packages;
#[path = "../../../../tests/support/provider.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod provider;
mod user;
