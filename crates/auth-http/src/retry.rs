//! When a request is sent again, for all crates: which failures are transient, how long a client waits, and when it gives
//! up.
//!
//! - **What is transient?** The statuses of [`is_transient_status`], and [`HttpError::is_transient`](crate::HttpError::is_transient):
//!   a connection that is refused, reset or silent, a temporary failure of DNS, a TLS handshake that breaks off. A
//!   certificate that is not trusted and a proxy that asks for a password stay as they are.
//! - **How long?** Limits are time, not attempts ([`RetryPolicy`]): a time of uninterrupted failure, and a shorter one for a
//!   host that has not answered in this process, which may be a wrong name.
//! - **Many requests, one host that is down.** Clones of a client share a circuit breaker for each host ([`Hosts`]). While
//!   it is open, one request is sent as a probe, and all others wait for its result. The pause between probes is a
//!   [`Backoff`](auth_core::Backoff).
//! - **One request fails, and others to the same host succeed.** Its breaker stays closed; the request has a backoff of
//!   its own.
//! - **`Retry-After`.** The host is left alone for this long. If that is beyond the limit, the request fails at once.
//! - **What does the user see?** An observer hears of a wait that takes longer than it wants to know of, and of its end.
//!
//! A request that must not be sent twice has no [`Attempts`].

mod attempts;
mod circuit;
mod event;
mod gave_up;
mod hosts;
mod policy;

pub use attempts::Attempts;
pub use auth_core::is_transient_status;
pub use event::{Resumed, RetryEvent, Waiting};
pub use gave_up::GaveUp;
pub use hosts::Hosts;
pub use policy::RetryPolicy;
