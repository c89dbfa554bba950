//! Providers of tokens from outside of this process: from a variable, a file, a program, or the platform on which a
//! workload runs.
//!
//! All errors are [`CredentialError`]s, which name the provider, its source and a remedy, and never contain a token.

mod chain;
mod client_files;
mod command;
mod env;
mod error;
mod file;
mod known_expiry;
mod text;
mod workload;

pub use chain::{ConfiguredProvider, ProviderChain};
pub use client_files::{ClientFiles, FileClient, FileClientProvider};
pub use command::{CommandProvider, PrintedToken, command_line};
pub use env::EnvToken;
pub use error::CredentialError;
pub use file::FileToken;
pub use known_expiry::{KnownExpiryProvider, KnownExpiryStore};
pub use workload::WorkloadIdentity;
