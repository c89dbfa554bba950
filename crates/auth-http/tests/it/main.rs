//! The clients against servers on loopback.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod requests;
mod tls;
