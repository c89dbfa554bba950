//! Test support for implementations of the `auth-core` traits: conformance suites for caches and leases, a manual
//! clock, a scripted provider, and a store with the latency of a remote one. For use as a dev-dependency only.
//!
//! ```
//! use auth_core::MemoryTokenCache;
//!
//! platform_testkit::token_cache(&MemoryTokenCache::new());
//! ```
//!
//! The suites panic with a message about the violated rule. They require an empty cache, and leave it empty.

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
pub use provider::{Answer, Call, ScriptedProvider};
pub use store::RemoteStore;
