//! File names and paths that are valid on all supported file systems.

pub(crate) mod name;
pub(crate) mod path;
pub(crate) mod pattern;
pub(crate) mod reserved;
pub(crate) mod target;
