//! Checks that a file is complete: every byte range that its directories refer to is within the file.

use std::io::{Read, Seek};

use super::entry::Entry;
use super::{DirectoryLocation, Tiff, tags};
use crate::error::{ErrorKind, malformed};

/// The number of strips or tiles that are checked in one step.
const CHUNKS_PER_STEP: u64 = 4096;
/// The maximum number of strips and tiles of all directories of a file.
const MAX_CHUNKS: u64 = 1 << 25;
/// The length of the header of classic TIFF, in bytes. Pixels can only be after the header.
const HEADER_BYTES: u64 = 8;
/// The `PhotometricInterpretation` of images with chroma subsampling.
const YCBCR: u16 = 6;

impl<R: Read + Seek> Tiff<R> {
    /// Checks the values and the pixels of a directory. `budget` is the number of strips and tiles that may still be
    /// checked in this file.
    pub(crate) fn check(&mut self, number: usize, budget: &mut Budget) -> Result<(), ErrorKind> {
        for entry in &self.directories[number].entries {
            entry.check(&self.reader)?;
        }
        let directory = &self.directories[number];
        let location = directory.location;
        let expected_chunks = self.chunk_count(number)?;
        let (offsets, counts) = match self.directories[number].tile {
            Some(_) => (tags::TILE_OFFSETS, tags::TILE_BYTE_COUNTS),
            None => (tags::STRIP_OFFSETS, tags::STRIP_BYTE_COUNTS),
        };
        let entries = (self.unsigned_entry(number, offsets)?, self.unsigned_entry(number, counts)?);
        let (Some(offsets), counts) = entries else {
            return Err(malformed(format!("{location} does not state where its pixels are")));
        };
        let Some(counts) = counts else { return self.check_without_counts(number, &offsets) };
        if offsets.count < expected_chunks || counts.count < expected_chunks {
            let found = offsets.count.min(counts.count);
            return Err(malformed(format!("{location} states {found} strips or tiles of {expected_chunks}")));
        }
        budget.spend(expected_chunks)?;
        let chunks = Chunks { location, count: expected_chunks, minimum_bytes: self.minimum_bytes(number)? };
        self.check_chunks(&offsets, &counts, &chunks)
    }

    fn unsigned_entry(&self, number: usize, tag: u16) -> Result<Option<Entry>, ErrorKind> {
        match self.directories[number].entry(tag).copied() {
            Some(entry) if !entry.is_unsigned() || entry.count == 0 => {
                Err(malformed(format!("tag {tag} is not a number")))
            }
            entry => Ok(entry),
        }
    }

    /// Returns the number of strips or tiles of the image.
    fn chunk_count(&mut self, number: usize) -> Result<u64, ErrorKind> {
        let rows = match self.unsigned(number, tags::ROWS_PER_STRIP)? {
            Some(0) => return Err(malformed("its strips have no rows")),
            rows => rows.unwrap_or(u64::MAX),
        };
        let directory = &self.directories[number];
        let (width, height) = (u64::from(directory.width), u64::from(directory.height));
        let planes = if directory.is_planar { u64::from(directory.samples.max(1)) } else { 1 };
        let chunks = match directory.tile {
            Some((across, down)) => {
                width.div_ceil(u64::from(across).max(1)).saturating_mul(height.div_ceil(u64::from(down).max(1)))
            }
            None => height.div_ceil(rows),
        };
        Ok(chunks.saturating_mul(planes))
    }

    /// Returns the minimum number of bytes of each strip or tile.
    fn minimum_bytes(&mut self, number: usize) -> Result<MinimumBytes, ErrorKind> {
        let rows = self.unsigned(number, tags::ROWS_PER_STRIP)?.unwrap_or(u64::MAX);
        let directory = &self.directories[number];
        let samples = if directory.is_planar { 1 } else { directory.samples };
        let row = |width: u32| (u64::from(width) * u64::from(samples) * u64::from(directory.bits)).div_ceil(8);
        // Slides have no other uncompressed pixel formats. YCbCr is excluded because subsampling reduces the number of
        // samples.
        let is_plain = directory.compression == 1 && directory.photometric <= 2 && [8, 16].contains(&directory.bits);
        Ok(match directory.tile {
            _ if !is_plain => MinimumBytes::Unknown,
            Some((width, height)) => MinimumBytes::Tile(row(width).saturating_mul(height.into())),
            None => MinimumBytes::Strip { row: row(directory.width), rows, height: directory.height.into() },
        })
    }

    fn check_chunks(&mut self, offsets: &Entry, counts: &Entry, chunks: &Chunks) -> Result<(), ErrorKind> {
        let (mut end, mut first, location) = (0, 0, chunks.location);
        while first < chunks.count {
            let step = CHUNKS_PER_STEP.min(chunks.count - first);
            let (starts, start_size) = offsets.read_values(&mut self.reader, first, step)?;
            let (lengths, length_size) = counts.read_values(&mut self.reader, first, step)?;
            let pairs = starts.chunks_exact(start_size).zip(lengths.chunks_exact(length_size));
            for (number, (start, length)) in (first..).zip(pairs) {
                let (start, length) = (self.reader.number(start), self.reader.number(length));
                // A byte count of zero means that the writer omitted an empty tile. Its offset is irrelevant.
                if length == 0 {
                    continue;
                }
                let minimum_bytes = chunks.minimum_bytes.of_chunk(number);
                if start < HEADER_BYTES {
                    return Err(malformed(format!("the pixels of {location} overlap the header of the file")));
                }
                if length < minimum_bytes {
                    let text =
                        format!("a part of {location} has {length} of {minimum_bytes} bytes of uncompressed pixels");
                    return Err(malformed(text));
                }
                end = end.max(start.saturating_add(length));
            }
            first += step;
        }
        if end == 0 {
            return Err(malformed(format!("{location} has no pixels: all its strips or tiles are empty")));
        }
        self.reader.check(&format!("the pixels of {location}"), 0, end)
    }

    /// Checks an uncompressed image with one strip but without its byte count, which old writers omit.
    fn check_without_counts(&mut self, number: usize, offsets: &Entry) -> Result<(), ErrorKind> {
        let subsampling = self.unsigned_values(number, tags::YCBCR_SUB_SAMPLING)?;
        let directory = &self.directories[number];
        if directory.compression != 1 || offsets.count != 1 {
            return Err(malformed(format!("{} does not state how many bytes its pixels have", directory.location)));
        }
        let (width, height) = (u64::from(directory.width), u64::from(directory.height));
        let (samples, bits) = (u64::from(directory.samples), u64::from(directory.bits));
        let bytes = if directory.photometric == YCBCR && samples == 3 {
            // With chroma subsampling, a block of pixels shares two color samples (TIFF 6.0, section 21).
            let side = |axis: usize| subsampling.get(axis).copied().unwrap_or(2).clamp(1, 4);
            let blocks = width.div_ceil(side(0)).saturating_mul(height.div_ceil(side(1)));
            blocks.saturating_mul((side(0) * side(1) + 2) * bits).div_ceil(8)
        } else {
            (width * samples * bits).div_ceil(8).saturating_mul(height)
        };
        let what = format!("the pixels of {}", directory.location);
        let (start, size) = offsets.read_values(&mut self.reader, 0, 1)?;
        self.reader.check(&what, self.reader.number(&start[..size]), bytes)
    }
}

/// The strips or tiles of a directory.
struct Chunks {
    location: DirectoryLocation,
    count: u64,
    minimum_bytes: MinimumBytes,
}

/// The minimum number of bytes of a strip or tile that is not empty.
enum MinimumBytes {
    /// Unknown, because the pixels are compressed or have another format.
    Unknown,
    Tile(u64),
    Strip {
        row: u64,
        rows: u64,
        height: u64,
    },
}

impl MinimumBytes {
    fn of_chunk(&self, number: u64) -> u64 {
        match *self {
            Self::Unknown => 1,
            Self::Tile(bytes) => bytes,
            Self::Strip { row, rows, height } => {
                // The last strip of each plane has the remaining rows.
                let first = (number % height.div_ceil(rows).max(1)).saturating_mul(rows);
                row.saturating_mul(rows.min(height.saturating_sub(first)))
            }
        }
    }
}

/// The remaining number of strips and tiles to check.
#[derive(Debug)]
pub(crate) struct Budget(u64);

impl Default for Budget {
    fn default() -> Self {
        Self(MAX_CHUNKS)
    }
}

impl Budget {
    fn spend(&mut self, chunks: u64) -> Result<(), ErrorKind> {
        let remaining = self.0.checked_sub(chunks);
        self.0 = remaining.ok_or_else(|| malformed("its directories have too many strips and tiles"))?;
        Ok(())
    }
}
