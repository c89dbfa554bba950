//! What a whole-slide image in TIFF or BigTIFF says of itself: its size in pixels, its resolution,
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

mod error;
mod resolution;

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use tiff::TiffError;
use tiff::decoder::{ChunkType, Decoder};
use tiff::tags::Tag;

pub use error::SlideError;

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
    /// The length of the file in bytes.
    pub bytes: u64,
    /// The CRC32C (Castagnoli) of the file.
    pub crc32c: u32,
}

/// Reads what the slide at `path` says of itself, and all of its bytes once for the checksum. It blocks.
///
/// # Errors
///
/// The file cannot be read, is no TIFF, is cut off, or does not state its resolution; the error
/// names the file.
pub fn read(path: &Path) -> Result<SlideMetadata, SlideError> {
    let failed = |source| SlideError::io(path, source);
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let (width, height, resolution) = read_tags(path, BufReader::new(&file), bytes)?;
    let crc32c = checksum(&file).map_err(failed)?;
    Ok(SlideMetadata { width, height, resolution, bytes, crc32c })
}

fn read_tags(path: &Path, mut reader: impl Read + Seek, bytes: u64) -> Result<(u32, u32, f64), SlideError> {
    let mut magic = [0; 4];
    let is_tiff = reader.read_exact(&mut magic).is_ok()
        && matches!(&magic, b"II\x2A\0" | b"II\x2B\0" | b"MM\0\x2A" | b"MM\0\x2B");
    if !is_tiff {
        return Err(SlideError::no_tiff(path));
    }
    let malformed = |source| SlideError::tiff(path, source);
    reader.rewind().map_err(|source| SlideError::io(path, source))?;
    let mut decoder = Decoder::new(reader).map_err(malformed)?;
    let (width, height) = decoder.dimensions().map_err(malformed)?;
    let resolution = resolution::of_first_image(&mut decoder).map_err(|reason| SlideError::resolution(path, reason))?;
    let mut known = true;
    loop {
        if known {
            let end = end_of_image(&mut decoder).map_err(malformed)?;
            if end > bytes {
                return Err(SlideError::truncated(path, end, bytes));
            }
        }
        if !decoder.more_images() {
            return Ok((width, height, resolution));
        }
        known = match decoder.next_image() {
            Ok(()) => true,
            // Labels and thumbnails may be of a kind that the decoder does not know.
            Err(TiffError::UnsupportedError(_)) => false,
            Err(source) => return Err(malformed(source)),
        };
    }
}

/// Where the last byte of the current image's pixels lies.
fn end_of_image(decoder: &mut Decoder<impl Read + Seek>) -> Result<u64, TiffError> {
    let (offsets, lengths) = match decoder.get_chunk_type() {
        ChunkType::Strip => (Tag::StripOffsets, Tag::StripByteCounts),
        ChunkType::Tile => (Tag::TileOffsets, Tag::TileByteCounts),
    };
    let (offsets, lengths) = (decoder.get_tag_u64_vec(offsets)?, decoder.get_tag_u64_vec(lengths)?);
    Ok(offsets.iter().zip(&lengths).map(|(offset, length)| offset.saturating_add(*length)).max().unwrap_or_default())
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
