//! Logins and verification against a scripted identity provider.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod authentication;
mod browser;
mod device;
mod grants;
mod issuer;
mod jwt;
mod log;
mod login;
#[cfg(target_os = "linux")]
#[path = "../../../../tests/support/needs.rs"]
mod needs;
mod secrecy;
#[cfg(target_os = "linux")]
#[path = "../../../../tests/support/small_disk.rs"]
mod small_disk;
mod store;
#[cfg(target_os = "linux")]
#[path = "../../../../tests/support/traced.rs"]
mod traced;
