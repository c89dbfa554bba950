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
//! A wrong resolution would lead to wrong measurements, so a doubtful file is an error. If a file is marked as that of a
//! vendor, but the vendor metadata cannot be read, it is an error. A resolution outside [`PLAUSIBLE`] is an error unless
//! the caller specifies the resolution ([`ReadOptions::with_resolution`]).
//!
//! [`inspect`] describes a slide without reading its pixels. A DICOM slide is often a folder with one file per resolution
//! level. [`DicomFiles`] selects the file at full resolution of each slide.
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
mod stated_resolution;
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
pub use read::{
    ReadOptions, SlideMetadata, checksum, inspect, inspect_from, is_dicom_archive, read, read_with, recognize,
};
pub use resolution::{PLAUSIBLE, Plausibility, Resolution, ResolutionSource};
#[cfg(feature = "thumbnail")]
pub use thumbnail::{Thumbnail, thumbnail};
