//! Tests with real peers: MCP servers (`mcp` from `PyPI`) and the certified `oidc-provider`, both behind mutual TLS,
//! and A2A agents (`a2a-sdk` from `PyPI`).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod a2a;
#[path = "../../../../tests/support/authority.rs"]
mod authority;
mod calls;
mod certificates;
#[path = "../../../../tests/support/clock.rs"]
mod clock;
mod discovery;
mod examples;
#[cfg(unix)]
mod fleet;
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
#[path = "../hostile/server.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod server;
mod sessions;
mod stateless;
mod test_bed;
mod tokens;
mod tools;
