//! The clients against servers on loopback.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../../../tests/support/authority.rs"]
mod authority;
mod brakes;
mod date;
#[path = "../support/exchange.rs"]
mod exchange;
mod requests;
mod retries;
#[path = "../support/server.rs"]
mod server;
mod silence;
mod tls;
#[path = "../../../../tests/support/tls.rs"]
mod tls_server;
