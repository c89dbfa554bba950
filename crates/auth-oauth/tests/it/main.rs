//! Logins and verification against a scripted identity provider.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod authentication;
#[path = "../../../../tests/support/authority.rs"]
mod authority;
mod browser;
mod device;
mod first_login;
mod grants;
mod issuer;
mod jwt;
mod log;
mod login;
#[cfg(target_os = "linux")]
#[path = "../../../../tests/support/needs.rs"]
mod needs;
mod outcomes;
mod parameters;
#[cfg(unix)]
mod rotation;
mod secrecy;
#[cfg(target_os = "linux")]
#[path = "../../../../tests/support/small_disk.rs"]
mod small_disk;
mod store;
#[path = "../../../../tests/support/tls.rs"]
mod tls_server;
#[cfg(target_os = "linux")]
#[path = "../../../../tests/support/traced.rs"]
mod traced;
mod traits;
