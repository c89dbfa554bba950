//! Test support for implementations of the `auth-core` traits: conformance suites for caches and leases, a manual
//! clock, a scripted provider, and a store that simulates a remote store. Use the crate only as a dev-dependency.
//!
//! ```
//! use auth_core::MemoryTokenCache;
//!
//! platform_testkit::token_cache(&MemoryTokenCache::new());
//! ```
//!
//! The suites panic with a message about the violated rule. The cache must be empty before a suite, and is empty
//! afterwards.

mod clock;
mod conformance;
mod contention;
mod lease_suite;
mod provider;
mod store;

pub use clock::ManualClock;
pub use conformance::{async_token_cache, refresh_lease, token_cache};
pub use contention::{async_atomic_delete_if, atomic_delete_if};
pub use lease_suite::LeaseSuite;
pub use provider::{Call, ScriptedProvider, ScriptedResponse};
pub use store::RemoteStore;
