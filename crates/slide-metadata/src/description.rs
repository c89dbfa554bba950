//! The description of a slide: its images, its resolution, and warnings.

use std::fmt;

use crate::identifier::Identifier;
use crate::resolution::{Plausibility, Resolution};

/// The container format of a slide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub enum Format {
    /// TIFF with 32-bit offsets. Includes NDPI, which extends them to 64 bits.
    Tiff,
    /// TIFF with 64-bit offsets.
    BigTiff,
    /// One DICOM file.
    Dicom,
    /// A zip archive of DICOM files.
    DicomArchive,
}

impl Format {
    /// Returns the media type: `image/tiff`, `application/dicom` or `application/zip`.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Tiff | Self::BigTiff => "image/tiff",
            Self::Dicom => "application/dicom",
            Self::DicomArchive => "application/zip",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tiff => "TIFF",
            Self::BigTiff => "BigTIFF",
            Self::Dicom => "DICOM",
            Self::DicomArchive => "zip archive of DICOM",
        })
    }
}

/// The vendor or standard of a TIFF file's structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub enum Vendor {
    /// Aperio SVS.
    Aperio,
    /// Hamamatsu NDPI.
    Hamamatsu,
    /// Leica SCN.
    Leica,
    /// OME-TIFF of the Open Microscopy Environment.
    Ome,
    /// Philips TIFF.
    Philips,
    /// Trestle TIFF.
    Trestle,
    /// Ventana (Roche) BIF and TIFF.
    Ventana,
}

impl Vendor {
    /// Returns the name of the vendor in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aperio => "aperio",
            Self::Hamamatsu => "hamamatsu",
            Self::Leica => "leica",
            Self::Ome => "ome",
            Self::Philips => "philips",
            Self::Trestle => "trestle",
            Self::Ventana => "ventana",
        }
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Aperio => "Aperio",
            Self::Hamamatsu => "Hamamatsu",
            Self::Leica => "Leica",
            Self::Ome => "OME",
            Self::Philips => "Philips",
            Self::Trestle => "Trestle",
            Self::Ventana => "Ventana",
        })
    }
}

/// The role of an image in a slide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub enum Role {
    /// The image at full resolution.
    Image,
    /// The same image at a lower resolution.
    Level,
    /// Another focal plane, channel or region.
    Plane,
    /// A picture of the label.
    Label,
    /// A picture of the whole glass slide, which may show the label.
    Macro,
    /// A small picture of the image.
    Thumbnail,
    /// A mask or a map, such as a focus map.
    Mask,
}

impl Role {
    /// Returns the name of the role in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Level => "level",
            Self::Plane => "plane",
            Self::Label => "label",
            Self::Macro => "macro",
            Self::Thumbnail => "thumbnail",
            Self::Mask => "mask",
        }
    }

    /// Returns true if the image is not part of the slide's pyramid: a label, macro image, thumbnail or mask.
    pub(crate) fn is_associated(self) -> bool {
        matches!(self, Self::Label | Self::Macro | Self::Thumbnail | Self::Mask)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// An image of a slide: a directory of a TIFF file, or a DICOM file.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct ImageDescription {
    /// The location of the image, such as `directory 0` or the name of an archive member.
    pub place: String,
    /// The role of the image.
    pub role: Role,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// The number of the resolution level, 0 for full resolution. `None` if the image is not a level of the pyramid.
    pub level: Option<u32>,
    /// The name of the pixel compression, such as `JPEG`; for DICOM, the name of the transfer syntax.
    pub compression: String,
    /// Width and height of a tile in pixels; `None` if the image is stored in strips.
    pub tile: Option<(u32, u32)>,
}

/// A problem with a slide that does not prevent reading it. `Display` describes the problem.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub enum Warning {
    /// The file contains no usable resolution.
    ResolutionMissing {
        /// The expected value and its location.
        looked_for: String,
        /// The value that was found.
        found: String,
    },
    /// The resolution is outside [`PLAUSIBLE`](crate::PLAUSIBLE).
    ResolutionImplausible(Resolution),
    /// The sides of a pixel differ by more than 1 %.
    NotSquare(Resolution),
    /// The vendor metadata contain no resolution. The TIFF resolution tags are used instead.
    ResolutionFromTags(Vendor),
    /// The TIFF resolution tags differ from the resolution in the vendor metadata. The latter is used.
    TagsDiffer {
        /// Micrometers per pixel according to the tags.
        #[cfg_attr(feature = "serde", serde(with = "crate::resolution::exact"))]
        tags: f64,
        /// Micrometers per pixel according to the vendor.
        #[cfg_attr(feature = "serde", serde(with = "crate::resolution::exact"))]
        vendor: f64,
    },
    /// A label, macro image or thumbnail cannot be read.
    UnreadableImage {
        /// The location of the image.
        place: String,
        /// The role of the image.
        role: Role,
        /// The reason.
        reason: String,
    },
    /// The file is another image of a slide than the one at full resolution, such as a label.
    NotTheImage(Role),
    /// The archive member with this name is not DICOM.
    IgnoredMember(String),
}

impl Warning {
    /// Returns a stable name of the warning, for JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ResolutionMissing { .. } => "resolution_missing",
            Self::ResolutionImplausible(_) => "resolution_implausible",
            Self::NotSquare(_) => "not_square",
            Self::ResolutionFromTags(_) => "resolution_from_tags",
            Self::TagsDiffer { .. } => "tags_differ",
            Self::UnreadableImage { .. } => "unreadable_image",
            Self::NotTheImage(_) => "not_the_image",
            Self::IgnoredMember(_) => "ignored_member",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ResolutionMissing { looked_for, found } => {
                write!(formatter, "no resolution: looked for {looked_for}, found {found}")
            }
            Self::ResolutionImplausible(resolution) => {
                write!(formatter, "implausible resolution: {resolution}; expected {}", Plausibility::range())
            }
            Self::NotSquare(resolution) => write!(formatter, "pixels are not square: {resolution}"),
            Self::ResolutionFromTags(vendor) => {
                write!(formatter, "{vendor} metadata contain no resolution; the resolution tags are used")
            }
            Self::TagsDiffer { tags, vendor } => {
                write!(
                    formatter,
                    "the resolution is {tags} µm per pixel in the resolution tags, but {vendor} in the vendor metadata, which is used"
                )
            }
            Self::UnreadableImage { place, role, reason } => write!(formatter, "{role} in {place}: {reason}"),
            Self::NotTheImage(role) => write!(formatter, "the {role} of a slide, not its image at full resolution"),
            Self::IgnoredMember(name) => write!(formatter, "member '{name}' of the archive is not DICOM"),
        }
    }
}

/// The description of a slide. See [`inspect`](crate::inspect).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct SlideDescription {
    /// The container format.
    pub format: Format,
    /// The vendor of the file's structure; `None` for generic TIFF and for DICOM.
    pub vendor: Option<Vendor>,
    /// Pixels from left to right at full resolution.
    pub width: u32,
    /// Pixels from top to bottom at full resolution.
    pub height: u32,
    /// The resolution in the file, which may be implausible; `None` if the file contains none.
    pub resolution: Option<Resolution>,
    /// All images, in the order of the file.
    pub images: Vec<ImageDescription>,
    /// Problems with the structure and the resolution that do not prevent reading the slide.
    pub warnings: Vec<Warning>,
    /// Data that may identify a patient.
    pub identifiers: Vec<Identifier>,
    /// The length of the file in bytes.
    pub bytes: u64,
}
