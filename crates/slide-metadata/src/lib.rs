//! What a whole-slide image in TIFF, BigTIFF or DICOM says of itself: its size in pixels, its resolution,
//! and the CRC32C of its bytes – what the platform wants to know before it takes a slide.
//!
//! The format is recognised by its first bytes, whatever the file is called, so that `.svs` files
//! and other dialects of TIFF are read alike. The pixels are not decoded.
//!
//! ```no_run
//! let slide = slide_metadata::read("slide.svs".as_ref())?;
//! println!("{} × {} px at {} µm per pixel", slide.width, slide.height, slide.resolution);
//! # Ok::<(), slide_metadata::SlideError>(())
//! ```
//!
//! A slide in DICOM is often a folder of files, one for each level and image of it:
//! [`DicomFiles`] tells which of them to read.

mod dicom;
mod error;
mod levels;
mod resolution;
mod tiff;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use dicom::{Header, Until};
use error::Kind;

pub use error::SlideError;
pub use levels::DicomFiles;

/// Checksums are computed over blocks of this size, which the processor caches hold.
const BLOCK: usize = 256 * 1024;

/// What a slide says of itself.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SlideMetadata {
    /// Pixels from left to right at full resolution.
    pub width: u32,
    /// Pixels from top to bottom at full resolution.
    pub height: u32,
    /// Micrometres per pixel (MPP) at full resolution.
    pub resolution: f64,
    /// What kind of file it is: `image/tiff` or `application/dicom`.
    pub media_type: &'static str,
    /// The length of the file in bytes.
    pub bytes: u64,
    /// The CRC32C (Castagnoli) of the file.
    pub crc32c: u32,
}

/// Reads what the slide at `path` says of itself, and all of its bytes for the checksum; those of DICOM twice. It blocks.
///
/// # Errors
///
/// The file cannot be read, is neither TIFF nor DICOM, is cut off, or does not state its resolution; or it is a DICOM
/// file of something else than a slide at high resolution. The error names the file.
pub fn read(path: &Path) -> Result<SlideMetadata, SlideError> {
    read_file(path).map_err(|kind| SlideError::new(path, kind))
}

fn read_file(path: &Path) -> Result<SlideMetadata, Kind> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(BLOCK, &file);
    let ((width, height, resolution), media_type) = match format(&mut reader)? {
        Format::Tiff => (tiff::read(reader, bytes)?, "image/tiff"),
        Format::Dicom => (Header::read(reader, Until::End { bytes })?.measures()?, "application/dicom"),
    };
    Ok(SlideMetadata { width, height, resolution, media_type, bytes, crc32c: checksum(&file)? })
}

enum Format {
    Tiff,
    Dicom,
}

/// The format by the first bytes; the reader then stands where its content begins. What is both is read as DICOM.
fn format(reader: &mut (impl Read + Seek)) -> Result<Format, Kind> {
    let mut magic_at = |place| {
        let mut magic = [0; 4];
        reader.seek(SeekFrom::Start(place))?;
        match reader.read_exact(&mut magic) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok([0; 4]),
            outcome => outcome.map(|()| magic),
        }
    };
    if magic_at(dicom::PREAMBLE)? == *dicom::MAGIC {
        return Ok(Format::Dicom);
    }
    if tiff::MAGIC.contains(&&magic_at(0)?) {
        reader.rewind()?;
        return Ok(Format::Tiff);
    }
    Err(Kind::Unknown)
}

fn checksum(mut file: &File) -> std::io::Result<u32> {
    file.rewind()?;
    let mut block = vec![0; BLOCK];
    let mut crc = 0;
    loop {
        match file.read(&mut block)? {
            0 => return Ok(crc),
            length => crc = crc32c::crc32c_append(crc, &block[..length]),
        }
    }
}

#[cfg(test)]
mod tests;
