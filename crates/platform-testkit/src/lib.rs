//! For the tests of whoever plugs something into `auth-core`: suites that a cache or a lease has to
//! pass, and the parts to test with – a clock that stands, a provider with a script, a store that is
//! as far away as a remote one. Only ever a dev-dependency.
//!
//! ```
//! use auth_core::MemoryTokenCache;
//!
//! platform_testkit::token_cache(&MemoryTokenCache::new());
//! ```
//!
//! The suites panic with a sentence that says what is wrong. They need an empty cache, and leave an
//! empty one.

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
