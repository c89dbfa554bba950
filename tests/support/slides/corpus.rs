//! Synthetic slides in the structures of all vendors. They contain no data of real slides.

mod jpeg;
pub(crate) mod tiff;
pub(crate) mod vendors;
