//! What needs no real server: what bad input gets, and servers that behave as none should.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../../../tests/support/authority.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod authority;
mod bindings;
mod misbehaviour;
