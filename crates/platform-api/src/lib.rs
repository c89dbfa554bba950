//! The operations of the Aignostics Platform API.
//!
//! [`models`] and [`operations`] are generated from the project's OpenAPI document. A [`Client`] sends an operation
//! through a [`Transport`] and returns its typed response. Higher layers implement retries, caching, paging and logins.
//!
//! ```no_run
//! use platform_api::{Client, operations::GetRun};
//!
//! # async fn example(client: Client) -> Result<(), platform_api::ApiError> {
//! let run = client.send(&GetRun::new("7f1c0a3e-8f0b-4d8e-9d2a-0a3b5c6d7e8f")).await?;
//! println!("{} {}", run.application_id, run.state);
//! # Ok(()) }
//! ```
//!
//! Responses can be serialized as JSON. They include fields that this library does not know ([`UnknownFields`]), and
//! secrets in clear text, so protect serialized responses. Requests contain only fields of the OpenAPI document.
//!
//! # Features
//!
//! - `http` (enabled by default): `auth_http::AuthorizedClient` is a [`Transport`], and [`blocking`] adapts any
//!   transport for blocking callers. Without this feature, the crate has no HTTP client, and the caller provides the
//!   transport.

pub mod blocking;
mod client;
mod detail;
mod error;
mod exchange;
mod generated;
#[cfg(feature = "http")]
mod http;
mod operation;
mod options;
mod patch;
mod text;
mod timestamp;
mod transport;
mod unknown;

/// Imports of the generated code.
mod runtime {
    pub(crate) use crate::operation::{BodyError, DecodeError, Operation, Query, Segment, SuccessResponse, json_body};
    pub(crate) use crate::text::{conceal, conceal_optional, expose, expose_optional, open_enum, text};
    pub(crate) use crate::transport::Method;
}

pub use auth_core::{Secret, SignedUrl};
pub use client::Client;
pub use detail::ErrorDetail;
pub use error::ApiError;
pub use generated::{models, operations};
#[cfg(feature = "http")]
pub use http::Pinned;
pub use operation::{BodyError, DecodeError, Operation, Query, Segment, SuccessResponse, parameters};
pub use options::CallOptions;
pub use patch::Patch;
pub use text::{QueryValue, UnknownValue};
pub use timestamp::{Timestamp, TimestampError};
pub use transport::{ApiRequest, ApiResponse, Method, Transport, TransportError};
pub use unknown::UnknownFields;

/// Any JSON object.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;
/// Any JSON value.
pub type JsonValue = serde_json::Value;
