//! Logins and verification against a scripted identity provider.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod device;
mod issuer;
mod jwt;
