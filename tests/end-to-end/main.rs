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
#[path = "../support/needs.rs"]
mod needs;
mod slides;
#[path = "../support/webdriver.rs"]
mod webdriver;
