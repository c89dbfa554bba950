//! The gateway against real MCP servers (`mcp` from `PyPI`) and the certified `oidc-provider`, both behind mutual TLS.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../../../tests/support/authority.rs"]
mod authority;
mod calls;
mod certificates;
mod discovery;
mod examples;
#[cfg(unix)]
mod fleet;
mod lab;
mod mcp;
#[path = "../../../../tests/support/needs.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod needs;
#[path = "../../../../tests/support/packages.rs"]
mod packages;
#[path = "../../../../tests/support/provider.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod provider;
#[cfg(unix)]
#[path = "../../../../tests/support/redis.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod redis_server;
mod sessions;
mod tokens;
mod tools;
