//! Tests with MCP servers (`rmcp`) that are not behind a gateway. Their authorization server is the certified
//! `oidc-provider`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod logins;
#[path = "../../../../tests/support/needs.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod needs;
mod order_server;
#[path = "../../../../tests/support/packages.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod packages;
#[path = "../../../../tests/support/provider.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod provider;
mod user;
