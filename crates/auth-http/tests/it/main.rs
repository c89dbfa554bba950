//! The clients against servers on loopback.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/authority.rs"]
mod authority;
#[path = "../support/exchange.rs"]
mod exchange;
mod requests;
mod tls;
