//! Result folders and their manifests.

pub(crate) mod clean;
pub(crate) mod folder;
pub(crate) mod forget;
mod lines;
pub(crate) mod manifest;
pub(crate) mod recorded;
mod sums;
pub(crate) mod sweep;
pub(crate) mod verify;
