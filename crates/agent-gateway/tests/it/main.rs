//! Tests without a real server: invalid input, and misbehaving servers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../../../tests/support/authority.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod authority;
mod bindings;
mod misbehaviour;
