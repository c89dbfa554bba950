use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use tiff::TiffError;

use crate::dicom::Other;

/// What is wrong with the structure of a file.
pub(crate) type Damage = Box<dyn Error + Send + Sync>;

/// Why a file cannot be used as a slide. It names the file, and what would be accepted.
#[derive(Debug)]
pub struct SlideError {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Kind {
    #[error("cannot be read")]
    Io(#[source] io::Error),
    #[error(
        "neither TIFF nor DICOM by its first bytes; accepted are whole-slide images in TIFF or BigTIFF (.tif, .tiff, .svs and the like) and in DICOM (.dcm)"
    )]
    Unknown,
    #[error(
        "cut off: its pixels reach to byte {expected}, but the file ends at byte {actual}; copy it again from its source"
    )]
    Truncated { expected: u64, actual: u64 },
    #[error("cut off or damaged: its structure cannot be read; copy it again from its source")]
    Malformed(#[source] Damage),
    #[error("a kind of TIFF that is not supported; accepted are images with 8 bits per sample in grey, RGB or YCbCr")]
    Unsupported(#[source] TiffError),
    #[error("a kind of DICOM that is not supported: its transfer syntax is {0}")]
    TransferSyntax(String),
    #[error("{0}; wanted is a whole-slide image of the flavor VOLUME")]
    NoSlide(Other),
    #[error("one of several parts of an image, which no file has as a whole (a DICOM concatenation); join them first")]
    Concatenated,
    #[error(
        "{0}; a slide must state its micrometres per pixel: TIFF in the tags XResolution, YResolution and ResolutionUnit or as `MPP` in an Aperio description, DICOM as Pixel Spacing among the shared functional groups"
    )]
    Resolution(&'static str),
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

impl From<io::Error> for Kind {
    fn from(source: io::Error) -> Self {
        Self::Io(source)
    }
}

impl From<TiffError> for Kind {
    fn from(source: TiffError) -> Self {
        match source {
            TiffError::IoError(source) if source.kind() != io::ErrorKind::UnexpectedEof => Self::Io(source),
            TiffError::UnsupportedError(_) | TiffError::LimitsExceeded => Self::Unsupported(source),
            source => Self::Malformed(source.into()),
        }
    }
}

impl SlideError {
    pub(crate) fn new(path: &Path, kind: Kind) -> Self {
        Self { path: path.to_owned(), kind }
    }

    /// The file that cannot be used.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file itself is not what it must be; `false` if it could not be read.
    pub fn is_invalid(&self) -> bool {
        !matches!(self.kind, Kind::Io(_))
    }
}
