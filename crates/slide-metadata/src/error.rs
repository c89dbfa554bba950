use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use tiff::TiffError;

/// Why a file cannot be used as a slide. It names the file, and what would be accepted.
#[derive(Debug)]
pub struct SlideError {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("cannot be read")]
    Io(#[source] io::Error),
    #[error(
        "no TIFF or BigTIFF by its first bytes; accepted are whole-slide images in these formats (.tif, .tiff, .svs and the like)"
    )]
    NoTiff,
    #[error(
        "cut off: its pixels reach to byte {expected}, but the file ends at byte {actual}; copy it again from its source"
    )]
    Truncated { expected: u64, actual: u64 },
    #[error("cut off or damaged: its directories cannot be read; copy it again from its source")]
    Malformed(#[source] TiffError),
    #[error("a kind of TIFF that is not supported; accepted are images with 8 bits per sample in grey, RGB or YCbCr")]
    Unsupported(#[source] TiffError),
    #[error(
        "{0}; a slide must state its micrometres per pixel, in the tags XResolution, YResolution and ResolutionUnit or as `MPP` in an Aperio description"
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

impl SlideError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self { path: path.to_owned(), kind: Kind::Io(source) }
    }

    pub(crate) fn no_tiff(path: &Path) -> Self {
        Self { path: path.to_owned(), kind: Kind::NoTiff }
    }

    pub(crate) fn truncated(path: &Path, expected: u64, actual: u64) -> Self {
        Self { path: path.to_owned(), kind: Kind::Truncated { expected, actual } }
    }

    pub(crate) fn tiff(path: &Path, source: TiffError) -> Self {
        let kind = match source {
            TiffError::IoError(source) if source.kind() != io::ErrorKind::UnexpectedEof => Kind::Io(source),
            TiffError::UnsupportedError(_) | TiffError::LimitsExceeded => Kind::Unsupported(source),
            source => Kind::Malformed(source),
        };
        Self { path: path.to_owned(), kind }
    }

    pub(crate) fn resolution(path: &Path, reason: &'static str) -> Self {
        Self { path: path.to_owned(), kind: Kind::Resolution(reason) }
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
