//! Retry policy for all crates: transient failures, backoff and limits.
//!
//! - **Transient failures.** The statuses of [`is_transient_status`], and
//!   [`HttpError::is_transient`](crate::HttpError::is_transient): a connection that is refused, reset or inactive, a
//!   temporary DNS failure, an interrupted TLS handshake. An untrusted certificate and a proxy that requires a password
//!   are permanent.
//! - **Limits.** A [`RetryPolicy`] limits time, not attempts: a duration of uninterrupted failure, and a shorter one
//!   for a host that has not responded in this process, because its name may be wrong.
//! - **Many requests to one failing host.** Clones of a client share a circuit breaker per host ([`Hosts`]). While it
//!   is open, one request is sent as a probe, and all others wait for its result. The pause between probes is a
//!   [`Backoff`](auth_core::Backoff).
//! - **One request fails while others to the same host succeed.** The circuit stays closed; the request has its own
//!   backoff.
//! - **`Retry-After`.** No request is sent to the host for this duration. If it exceeds the limit, the request fails at
//!   once.
//! - **Feedback.** An observer is notified of waits longer than its threshold, and of their end.
//!
//! Requests that must not be sent twice do not use [`Attempts`].

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
