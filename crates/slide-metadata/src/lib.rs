//! The metadata of whole-slide images: size, resolution, checksum, and what may identify a patient.
//!
//! The format is recognized by its first bytes, whatever the file is called: TIFF and BigTIFF, also in the structures of
//! scanner vendors ([`Vendor`]), DICOM, and zip archives of DICOM. Pixels are not decoded.
//!
//! ```no_run
//! let slide = slide_metadata::read("slide.svs".as_ref())?;
//! println!("{} × {} px at {} µm per pixel", slide.width, slide.height, slide.resolution);
//! # Ok::<(), slide_metadata::SlideError>(())
//! ```
//!
//! A wrong scale is worse than an error: what marks a vendor's structure and cannot be read is an error, and so is a
//! resolution outside [`PLAUSIBLE`], unless the caller states another one ([`ReadOptions::with_resolution`]).
//!
//! [`inspect`] describes a slide without reading its pixels. A slide in DICOM is often a folder of files, one for each level
//! and image of it: [`DicomFiles`] tells them apart.
//!
//! Feature `serde`: descriptions can be stored. Feature `thumbnail`: small pictures of slides in TIFF.

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
#[cfg(feature = "thumbnail")]
mod thumbnail;
mod tiff;
mod vendor;
mod xml;

pub use description::{Format, ImageDescription, Role, SlideDescription, Warning};
pub use error::SlideError;
pub use format::Recognized;
pub use identifier::{Identifier, IdentifierKind};
pub use levels::DicomFiles;
pub use read::{ReadOptions, SlideMetadata, checksum, inspect, is_dicom_archive, read, read_with, recognize};
pub use resolution::{PLAUSIBLE, Plausibility, Resolution, ResolutionSource};
#[cfg(feature = "thumbnail")]
pub use thumbnail::{Thumbnail, thumbnail};
pub use vendor::Vendor;
