//! Formats by their first bytes.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::Kind;
use crate::{archive, dicom, tiff};

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Tiff,
    Dicom,
    Archive,
}

/// First bytes of slides that are not read. MRXS, which begins like any JPEG, is known by its name.
const OTHERS: [(&[u8], &str); 6] = [
    (b"ZISRAWFILE", "CZI (Zeiss)"),
    (b"[Virtual Microscope Specimen]", "VMS (Hamamatsu), a slide of several files,"),
    (b"[Uncompressed Virtual Microscope Specimen]", "VMU (Hamamatsu), a slide of several files,"),
    (b"<DataObject ObjectType=\"DPUfsImport\"", "iSyntax (Philips)"),
    (b"SQLite format 3\0", "a database, such as that of Sakura SVSLIDE,"),
    (b"SIS0", "VSI (Olympus), a slide of several files,"),
];
const MRXS: &str = "MRXS (3DHISTECH), a slide of several files,";

/// The format of a file. What is TIFF and DICOM at once is read as DICOM.
pub(crate) fn recognize(path: &Path, reader: &mut (impl Read + Seek)) -> Result<Container, Kind> {
    let mut head = Vec::new();
    reader.seek(SeekFrom::Start(0))?;
    reader.by_ref().take(dicom::PREAMBLE + 4).read_to_end(&mut head)?;
    reader.seek(SeekFrom::Start(0))?;
    let preamble = usize::try_from(dicom::PREAMBLE).unwrap_or(usize::MAX);
    if head.get(preamble..) == Some(dicom::MAGIC.as_slice()) {
        return Ok(Container::Dicom);
    }
    if tiff::MAGIC.iter().any(|magic| head.starts_with(*magic)) {
        return Ok(Container::Tiff);
    }
    if archive::MAGIC.iter().any(|magic| head.starts_with(*magic)) {
        return Ok(Container::Archive);
    }
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("mrxs")) {
        return Err(Kind::OtherFormat(MRXS));
    }
    let other = OTHERS.iter().find(|(magic, _)| head.starts_with(magic));
    Err(other.map_or(Kind::Unknown, |(_, name)| Kind::OtherFormat(name)))
}
