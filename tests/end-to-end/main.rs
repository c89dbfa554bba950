//! The built `aignostics` command from end to end, as a user runs it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod browser;
mod command;
mod conformance;
mod demo;
mod disk;
mod durability;
mod emulator;
mod interrupt;
mod login;
mod other_provider;
mod slides;

#[path = "../support/needs.rs"]
mod needs;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/provider.rs"]
mod provider;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/user.rs"]
mod user;
#[path = "../support/webdriver.rs"]
mod webdriver;
