//! Written by `cargo xtask codegen`, which also fixes the form: `rustfmt` keeps its hands off.

/// What the platform answers and takes.
#[rustfmt::skip]
pub mod models;
/// What the platform can be asked, one type per endpoint.
#[allow(clippy::wildcard_imports, reason = "which models the operations need is the generator's business")]
#[rustfmt::skip]
pub mod operations;
