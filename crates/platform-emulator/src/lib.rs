//! An emulator of the Aignostics Platform on loopback: an identity provider, the API and an object storage. Each has
//! its own port, so that tests can detect data sent to the wrong server.
//!
//! One application processes real slides: it downloads the slide, verifies it, detects the tissue and stores the
//! results. The others produce difficult cases for clients.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! let emulator = platform_emulator::Emulator::start().await?;
//! println!("the API is at {}, its tokens come from {}", emulator.api_root(), emulator.issuer());
//! # Ok(()) } // dropped here, and gone
//! ```

mod access;
mod account;
mod api;
mod application;
mod clock;
mod config;
mod connection;
mod control;
mod documents;
mod emulator;
mod fixture;
mod gate;
mod identity;
mod jsonpath;
mod page;
mod platform;
mod processing;
mod random;
mod run;
pub mod samples;
mod state;
mod storage;
mod store;
mod tls;

pub use account::{
    AUDIENCE, BUCKET_REGION, DEVICE_CLIENT_ID, INTERACTIVE_CLIENT_ID, MACHINE_CLIENT_ID, MACHINE_CLIENT_SECRET,
};
pub use config::{
    ApplicationConfig, Config, ExternalIssuer, FileConfig, OrganizationConfig, Outcome, PublicUrls, Role, UserConfig,
    VersionConfig,
};
pub use control::{Control, ControlError, Effect, Fault, InvalidFault, JournalEntry, Server};
pub use emulator::{Emulator, EmulatorBuilder};
pub use fixture::Fixture;
pub use storage::ServiceAccount;

/// Compiles the examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/emulator.md")]
struct Guide;
