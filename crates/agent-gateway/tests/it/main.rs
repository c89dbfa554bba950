//! Tests with fake servers: invalid configuration, and servers that behave in unusual ways.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod agents;
#[path = "../../../../tests/support/authority.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod authority;
mod authorization;
mod bindings;
#[path = "../../../../tests/support/clock.rs"]
mod clock;
mod destinations;
mod fake_server;
mod gateway_tokens;
mod key_erasure;
mod lifecycles;
#[path = "../../../../tests/support/log.rs"]
mod log;
mod misbehavior;
#[cfg(target_os = "linux")]
#[path = "../../../../tests/support/needs.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod needs;
#[path = "../hostile/server.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod server;
mod streams;
