//! An emulator of the Aignostics Platform on loopback: an identity provider, the API and an object storage. Each server
//! has a separate port, so that tests can detect data that is sent to the wrong server.
//!
//! The applications of the feature `images` (a default feature) process real slides: they download a slide, verify it,
//! detect the tissue and store the results. The other applications produce difficult cases for clients.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! let emulator = platform_emulator::Emulator::start().await?;
//! println!("the API is at {}, its tokens come from {}", emulator.api_root(), emulator.issuer());
//! # Ok(()) } // The emulator stops when it is dropped.
//! ```

mod account;
mod api;
mod application;
mod clock;
mod config;
mod control;
mod emulator;
mod fault;
mod file;
mod identity;
mod journal;
mod page;
mod platform;
mod random;
mod server;
mod server_name;
mod state;
mod storage;

pub use account::{
    AUDIENCE, BUCKET_REGION, DEVICE_CLIENT_ID, INTERACTIVE_CLIENT_ID, MACHINE_CLIENT_ID, MACHINE_CLIENT_SECRET,
};
#[cfg(feature = "images")]
pub use application::samples;
pub use config::{
    ApplicationConfig, Config, ExternalIssuer, FileConfig, OrganizationConfig, Outcome, PublicUrls, Role, UserConfig,
    VersionConfig,
};
pub use control::fixture::Fixture;
pub use control::{Control, ControlError};
pub use emulator::{Emulator, EmulatorBuilder};
pub use fault::{Effect, Fault, InvalidFault};
pub use journal::JournalEntry;
pub use server_name::Server;
pub use storage::ServiceAccount;

/// Compiles the examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/emulator.md")]
struct Guide;
