//! The emulator over HTTP, as a stranger would use it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod api;
mod application;
mod client;
mod control;
mod identity;
mod platform;
mod storage;
