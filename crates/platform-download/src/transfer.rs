//! Verified downloads: the planning of ranges, the partial file, and its publication under the final name.

pub(crate) mod background_digest;
pub(crate) mod blocking;
pub(crate) mod collected;
pub(crate) mod download;
pub(crate) mod downloader;
pub(crate) mod durability;
pub(crate) mod fetch;
pub(crate) mod partial_file;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod record;
pub(crate) mod response;
pub(crate) mod source;
pub(crate) mod writer;
