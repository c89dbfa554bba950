//! Tests of the HTTP clients with servers on loopback.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../../../tests/support/authority.rs"]
mod authority;
mod date;
#[path = "../support/exchange.rs"]
mod exchange;
mod read_timeouts;
mod requests;
mod retries;
#[path = "../support/server.rs"]
mod server;
mod tls;
#[path = "../../../../tests/support/tls.rs"]
mod tls_server;
mod token_rejections;
