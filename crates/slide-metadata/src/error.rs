use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::description::Vendor;

/// The cause of [`ErrorKind::Malformed`], the error for a file whose structure cannot be read.
pub(crate) type MalformedReason = Box<dyn Error + Send + Sync>;

/// The error for a file that cannot be used as a slide. The message contains the path, the expected value and the
/// actual value.
#[derive(Debug)]
pub struct SlideError {
    path: PathBuf,
    kind: ErrorKind,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ErrorKind {
    #[error("cannot be read")]
    Io(#[source] io::Error),
    #[error(
        "neither TIFF nor DICOM by its first bytes; accepted are whole-slide images in TIFF or BigTIFF (.tif, .tiff, .svs and the like) and in DICOM (.dcm, or .zip)"
    )]
    Unknown,
    #[error("{0} is not supported; export the slide as pyramidal TIFF or as DICOM")]
    OtherFormat(&'static str),
    #[error(
        "cut off: {what} should end at byte {expected}, but the file ends at byte {actual}; copy it again from its source"
    )]
    Truncated { what: String, expected: u64, actual: u64 },
    #[error("cut off or damaged: its structure cannot be read; copy it again from its source")]
    Malformed(#[source] MalformedReason),
    #[error("a kind of TIFF that is not supported: {0}; accepted are images of 8 or 16 bits in gray, RGB or YCbCr")]
    Unsupported(String),
    #[cfg(feature = "thumbnail")]
    #[error("cannot be decoded: {0}")]
    Undecodable(String),
    #[error("a kind of DICOM that is not supported: its transfer syntax is {0}")]
    TransferSyntax(String),
    #[error("{0}; expected a whole-slide image of the flavor VOLUME")]
    NotASlide(NotASlide),
    #[error("a part of a DICOM concatenation; join all parts into one file first")]
    Concatenated,
    #[error("cannot read {looked_for}, which marks it as a file of {vendor}: found {found}")]
    UnreadableVendorMetadata { vendor: Vendor, looked_for: String, found: String },
    #[error("{0}")]
    Inconsistent(String),
    #[error("cannot choose its full-resolution image: {0}")]
    AmbiguousImage(String),
    #[error("an archive that cannot be read: {0}")]
    Archive(String),
    #[error("no usable resolution: looked for {looked_for}, found {found}; state it with --resolution-mpp")]
    Resolution { looked_for: String, found: String },
}

/// The reason why a valid DICOM file is not a slide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotASlide {
    /// Another kind of document, such as an annotation or a segmentation.
    Class(String),
    /// An image of the slide that is not at full resolution, such as a label, an overview or a thumbnail.
    Flavor(String),
}

impl fmt::Display for NotASlide {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class) if class.is_empty() => formatter.write_str("does not state its SOP class"),
            Self::Class(class) => {
                write!(formatter, "not a whole-slide image: its SOP class is {}", class.escape_debug())
            }
            Self::Flavor(flavor) if flavor.is_empty() => formatter.write_str("does not state its image flavor"),
            Self::Flavor(flavor) => write!(formatter, "the {} of a slide", flavor.to_lowercase().escape_debug()),
        }
    }
}

impl fmt::Display for SlideError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path.display(), self.kind)
    }
}

impl Error for SlideError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

impl From<io::Error> for ErrorKind {
    fn from(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => Self::Malformed(source.into()),
            _ => Self::Io(source),
        }
    }
}

impl SlideError {
    pub(crate) fn new(path: &Path, kind: ErrorKind) -> Self {
        Self { path: path.to_owned(), kind }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns true if the content of the file is not a valid slide, and false if reading the file failed.
    pub fn is_invalid(&self) -> bool {
        !matches!(self.kind, ErrorKind::Io(_))
    }

    /// Returns true if the slide is valid, but its resolution is missing or implausible. Such a file can be read with
    /// [`ReadOptions::with_resolution`](crate::ReadOptions::with_resolution).
    pub fn is_resolution(&self) -> bool {
        matches!(self.kind, ErrorKind::Resolution { .. })
    }
}

/// Creates the error for a file whose structure is invalid because of `reason`.
pub(crate) fn malformed(reason: impl Into<MalformedReason>) -> ErrorKind {
    ErrorKind::Malformed(reason.into())
}

/// Quotes a value from a file for a message. The result has at most 40 characters of the value and no control
/// characters.
pub(crate) fn quoted(value: &str) -> String {
    let short: String = value.trim().chars().take(40).flat_map(char::escape_debug).collect();
    format!("'{short}{}'", if value.trim().chars().count() > 40 { "…" } else { "" })
}
