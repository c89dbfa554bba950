//! The retry policy of all crates: which failures are retried, when, and for how long.
//!
//! - **Transient failures** are retried. These are the statuses of [`is_transient_status`] and the errors of
//!   [`HttpError::is_transient`](crate::HttpError::is_transient): a connection that is refused, reset or inactive, a
//!   temporary DNS failure, an interrupted TLS handshake. An untrusted certificate and a proxy that requires a password
//!   are permanent failures.
//! - **Limits.** A [`RetryPolicy`] limits the time of uninterrupted failure instead of the number of attempts. The
//!   limit is shorter for a host that has not responded since the process started, because its name may be wrong.
//! - **Many requests to one failing host.** The clones of a client share a circuit breaker for each host ([`Hosts`]).
//!   While it is open, one request is sent as a probe, and all others wait for its result. The pause between probes is
//!   a [`Backoff`](auth_core::Backoff).
//! - **One request fails while others to the same host succeed.** The circuit breaker stays closed. The request has its
//!   own backoff.
//! - **`Retry-After`.** No request is sent to the host for the duration that the server requests. If that exceeds the
//!   limit, the request fails immediately.
//! - **Notifications.** An observer is notified of waits that are longer than its threshold, and of their end.
//!
//! Do not use [`Attempts`] for requests that must not be sent twice.

mod attempts;
mod circuit;
mod event;
mod hosts;
mod policy;
mod retries_exhausted;

pub use attempts::Attempts;
pub use auth_core::is_transient_status;
pub use event::{Resumed, RetryEvent, Waiting};
pub use hosts::Hosts;
pub use policy::RetryPolicy;
pub use retries_exhausted::RetriesExhausted;
