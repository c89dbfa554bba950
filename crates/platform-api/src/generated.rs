//! Code that `cargo xtask codegen` generates from the OpenAPI document. The generator formats it, so `rustfmt` skips
//! it.

/// The types of requests and responses.
#[rustfmt::skip]
pub mod models;
/// The operations of the platform, one type per endpoint.
#[allow(clippy::wildcard_imports, reason = "the generator does not determine which models the operations need")]
#[rustfmt::skip]
pub mod operations;
