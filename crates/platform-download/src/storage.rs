//! Object storage: buckets, signed URLs, uploads.

pub(crate) mod bucket;
mod journal;
pub(crate) mod signer;
#[cfg(feature = "object-store")]
pub(crate) mod store;
pub(crate) mod upload;
