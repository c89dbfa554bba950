//! The emulator over HTTP.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod api;
mod application;
mod client;
mod configured;
mod control;
mod faults;
mod guide;
mod identity;
#[path = "../../../../tests/support/needs.rs"]
mod needs;
mod pages;
mod platform;
mod scheduling;
mod statuses;
mod storage;
mod tls;
