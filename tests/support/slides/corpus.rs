//! Slides in the structures of all vendors. Nothing in them comes from a real slide.

mod jpeg;
pub(crate) mod tiff;
pub(crate) mod vendors;
