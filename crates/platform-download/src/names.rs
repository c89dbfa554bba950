//! Names that every file system can store.

pub(crate) mod name;
pub(crate) mod path;
pub(crate) mod pattern;
pub(crate) mod reserved;
pub(crate) mod target;
