//! The client against the emulator, and against scripted platforms where the emulator is too well-behaved.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod download;
mod lab;
mod lists;
#[cfg(feature = "login")]
mod login;
mod secrets;
mod settings;
mod submit;
