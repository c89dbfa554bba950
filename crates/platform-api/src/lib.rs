//! The Aignostics Platform API, operation by operation.
//!
//! [`models`] and [`operations`] are generated from the project's OpenAPI document; a [`Client`]
//! sends an operation and returns its typed answer. It does nothing more: no retry, no cache, no
//! paging, no login. That is the task of the crates above.
//!
//! ```no_run
//! use platform_api::{Client, operations::GetRun};
//!
//! # async fn example(client: Client) -> Result<(), platform_api::ApiError> {
//! let run = client.send(&GetRun::new("7f1c0a3e-8f0b-4d8e-9d2a-0a3b5c6d7e8f")).await?;
//! println!("{} {}", run.application_id, run.state);
//! # Ok(()) }
//! ```

mod client;
mod error;
mod generated;
mod operation;
mod text;
mod timestamp;

/// What the generated code is made with.
mod runtime {
    pub(crate) use auth_http::Method;

    pub(crate) use crate::operation::{Answer, BodyError, DecodeError, Operation, Query, Segment, json_body};
    pub(crate) use crate::text::{conceal, conceal_optional, expose, open_enum, text};
}

pub use auth_core::Secret;
pub use auth_http::SignedUrl;
pub use client::Client;
pub use error::ApiError;
pub use generated::{models, operations};
pub use operation::{Answer, BodyError, DecodeError, Operation, Query, Segment};
pub use text::{QueryValue, UnknownValue};
pub use timestamp::{Timestamp, TimestampError};

/// Any JSON object.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;
/// Any JSON value.
pub type JsonValue = serde_json::Value;
