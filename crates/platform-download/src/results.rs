//! Folders of results and their manifests.

pub(crate) mod clean;
pub(crate) mod folder;
pub(crate) mod forget;
pub(crate) mod manifest;
mod sums;
pub(crate) mod sweep;
pub(crate) mod verify;
