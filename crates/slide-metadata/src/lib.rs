//! Metadata of whole-slide images: size, resolution, checksum, and data that may identify a patient.
//!
//! The format is recognized by the first bytes, regardless of the file name: TIFF and BigTIFF, including the structures
//! of scanner vendors ([`Vendor`]), DICOM, and zip archives of DICOM. Pixels are not decoded.
//!
//! ```no_run
//! let slide = slide_metadata::read("slide.svs".as_ref())?;
//! println!("{} × {} px at {} µm per pixel", slide.width, slide.height, slide.resolution);
//! # Ok::<(), slide_metadata::SlideError>(())
//! ```
//!
//! A wrong scale is worse than an error. A vendor's marker with unreadable content is an error, and so is a resolution
//! outside [`PLAUSIBLE`], unless the caller states the resolution ([`ReadOptions::with_resolution`]).
//!
//! [`inspect`] describes a slide without reading its pixels. A DICOM slide is often a folder of files, one per level
//! and image. [`DicomFiles`] separates the files that are slides from the others.
//!
//! Feature `serde`: serializable descriptions. Feature `thumbnail`: thumbnails of TIFF slides.

mod archive;
mod choice;
mod description;
mod dicom;
mod error;
mod format;
mod identifier;
mod levels;
mod read;
mod resolution;
mod slide;
mod stated;
#[cfg(feature = "thumbnail")]
mod thumbnail;
mod tiff;
mod vendor;
mod xml;

pub use description::{Format, ImageDescription, Role, SlideDescription, Vendor, Warning};
pub use error::SlideError;
pub use format::Recognized;
pub use identifier::{Identifier, IdentifierKind};
pub use levels::DicomFiles;
pub use read::{ReadOptions, SlideMetadata, checksum, inspect, is_dicom_archive, read, read_with, recognize};
pub use resolution::{PLAUSIBLE, Plausibility, Resolution, ResolutionSource};
#[cfg(feature = "thumbnail")]
pub use thumbnail::{Thumbnail, thumbnail};
