//! Recognition of formats by their first bytes.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::ErrorKind;
use crate::{archive, dicom, tiff};

/// A supported container format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Tiff,
    Dicom,
    Archive,
}

/// The format of a file, determined from its first bytes and its extension by [`recognize`](crate::recognize).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recognized {
    /// TIFF or BigTIFF.
    Tiff,
    /// DICOM.
    Dicom,
    /// A zip archive. Its content has not been examined.
    Archive,
    /// An unsupported slide format with this name.
    Other(&'static str),
    /// Anything else.
    Unknown,
}

/// The first bytes of unsupported slide formats.
const UNSUPPORTED_FORMATS: [(&[u8], &str); 6] = [
    (b"ZISRAWFILE", "CZI (Zeiss)"),
    (b"[Virtual Microscope Specimen]", "VMS (Hamamatsu), a slide of several files,"),
    (b"[Uncompressed Virtual Microscope Specimen]", "VMU (Hamamatsu), a slide of several files,"),
    (b"<DataObject ObjectType=\"DPUfsImport\"", "iSyntax (Philips)"),
    (b"SQLite format 3\0", "a database, such as that of Sakura SVSLIDE,"),
    (b"SIS\0", "ETS (Olympus), part of a slide of several files,"),
];
/// File extensions of unsupported slide formats. Some of these formats cannot be recognized by their first bytes: an
/// MRXS file starts like JPEG, and a VSI file like TIFF.
const UNSUPPORTED_EXTENSIONS: [(&str, &str); 7] = [
    ("mrxs", "MRXS (3DHISTECH), a slide of several files,"),
    ("vsi", "VSI (Olympus), a slide of several files,"),
    ("isyntax", "iSyntax (Philips)"),
    ("i2syntax", "iSyntax (Philips)"),
    ("svslide", "SVSLIDE (Sakura)"),
    ("lif", "LIF (Leica)"),
    ("nd2", "ND2 (Nikon)"),
];

/// Returns the format of a file. A file that starts like TIFF and is also valid DICOM (a dual-personality file) is read
/// as DICOM.
pub(crate) fn recognize(path: &Path, reader: &mut (impl Read + Seek)) -> Result<Container, ErrorKind> {
    let mut head = Vec::new();
    reader.seek(SeekFrom::Start(0))?;
    reader.by_ref().take(dicom::PREAMBLE + 4).read_to_end(&mut head)?;
    reader.seek(SeekFrom::Start(0))?;
    let preamble = usize::try_from(dicom::PREAMBLE).unwrap_or(usize::MAX);
    if head.get(preamble..) == Some(dicom::MAGIC.as_slice()) {
        return Ok(Container::Dicom);
    }
    if let Some(name) = unsupported_format_by_extension(path) {
        return Err(ErrorKind::OtherFormat(name));
    }
    if tiff::MAGIC.iter().any(|magic| head.starts_with(*magic)) {
        return Ok(Container::Tiff);
    }
    if archive::MAGIC.iter().any(|magic| head.starts_with(*magic)) {
        return Ok(Container::Archive);
    }
    let unsupported_format = UNSUPPORTED_FORMATS.iter().find(|(magic, _)| head.starts_with(magic));
    Err(unsupported_format.map_or(ErrorKind::Unknown, |(_, name)| ErrorKind::OtherFormat(name)))
}

/// Returns the name of an unsupported slide format with this file extension.
fn unsupported_format_by_extension(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?;
    UNSUPPORTED_EXTENSIONS.iter().find(|(other, _)| extension.eq_ignore_ascii_case(other)).map(|(_, name)| *name)
}
