//! Tests of the HTTP clients with proxy programs on loopback.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../../../tests/support/authority.rs"]
mod authority;
mod environment;
#[path = "../support/exchange.rs"]
mod exchange;
mod interception;
#[path = "../../../../tests/support/needs.rs"]
mod needs;
mod password;
#[path = "../../../../tests/support/proxy.rs"]
mod process;
#[path = "../../../../tests/support/proxy_program.rs"]
mod program;
#[path = "../support/server.rs"]
mod server;
mod socks;
#[path = "../../../../tests/support/tls.rs"]
mod tls_server;
