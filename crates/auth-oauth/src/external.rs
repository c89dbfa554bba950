//! Tokens that something outside of this process provides: a variable, a file, a program, or the environment of a
//! workload.
//!
//! Every error is a [`CredentialError`], which names the provider, its source and a remedy, and never shows a token.

mod chain;
mod client_files;
mod command;
mod env;
mod error;
mod file;
mod known_expiry;
mod text;
mod workload;

pub use chain::{Applicable, ProviderChain};
pub use client_files::{ClientFiles, FileClient, Rotating};
pub use command::{CommandProvider, command_line};
pub use env::EnvToken;
pub use error::CredentialError;
pub use file::FileToken;
pub use known_expiry::{KnownExpiry, KnownExpiryStore};
pub use workload::WorkloadIdentity;
