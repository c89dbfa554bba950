//! Whole-slide images in TIFF and BigTIFF.

use std::io::{Read, Seek};

use ::tiff::TiffError;
use ::tiff::decoder::{ChunkType, Decoder};
use ::tiff::tags::Tag;

use crate::error::Kind;
use crate::resolution;

/// What the files begin with.
pub(crate) const MAGIC: [&[u8; 4]; 4] = [b"II\x2A\0", b"II\x2B\0", b"MM\0\x2A", b"MM\0\x2B"];

/// Width, height and resolution, if all pixels lie within the `bytes` of the file.
pub(crate) fn read(reader: impl Read + Seek, bytes: u64) -> Result<(u32, u32, f64), Kind> {
    let mut decoder = Decoder::new(reader)?;
    let (width, height) = decoder.dimensions()?;
    let resolution = resolution::of_first_image(&mut decoder).map_err(Kind::Resolution)?;
    let mut known = true;
    loop {
        if known {
            let end = end_of_image(&mut decoder)?;
            if end > bytes {
                return Err(Kind::Truncated { expected: end, actual: bytes });
            }
        }
        if !decoder.more_images() {
            return Ok((width, height, resolution));
        }
        known = match decoder.next_image() {
            Ok(()) => true,
            // Labels and thumbnails may be of a kind that the decoder does not know.
            Err(TiffError::UnsupportedError(_)) => false,
            Err(source) => return Err(source.into()),
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
