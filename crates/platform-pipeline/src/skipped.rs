//! Files and folders that a scan skips, each with the reason.

use std::path::PathBuf;

/// A file or a folder that a scan skipped, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct SkippedFile {
    /// The path of the file or the folder.
    pub path: PathBuf,
    /// The kind of reason.
    pub kind: SkipKind,
    /// The reason, as text.
    pub reason: String,
}

/// The kind of reason why a file is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SkipKind {
    /// A DICOM file that is part of another slide, or that is not a slide.
    Part,
    /// An archive without DICOM files.
    Archive,
    /// A slide in an unsupported format.
    OtherFormat,
    /// A file that is a TIFF or DICOM file by its first bytes, but does not have the extension of a slide.
    OtherName,
    /// A symbolic link to a folder, or a broken link.
    Link,
    /// A hidden slide, or a hidden folder.
    Hidden,
    /// The recycle bin of a file server.
    RecycleBin,
    /// The result of a run.
    Result,
    /// A pipe, a socket or a device.
    Special,
    /// A file with the same length and checksum as another slide.
    Duplicate,
    /// A file that is not a slide.
    Other,
}

impl SkipKind {
    /// Returns a stable name of the kind, for JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Part => "part",
            Self::Archive => "archive",
            Self::OtherFormat => "other_format",
            Self::OtherName => "other_name",
            Self::Link => "link",
            Self::Hidden => "hidden",
            Self::RecycleBin => "recycle_bin",
            Self::Result => "result",
            Self::Special => "special",
            Self::Duplicate => "duplicate",
            Self::Other => "other",
        }
    }
}

impl SkippedFile {
    pub(crate) fn new(path: PathBuf, kind: SkipKind, reason: impl Into<String>) -> Self {
        Self { path, kind, reason: reason.into() }
    }
}
