//! Completeness: every byte range of a directory is within the file.

use std::io::{Read, Seek};

use super::entry::Entry;
use super::{Tiff, tags};
use crate::error::{Kind, malformed};

/// The number of strips or tiles that are checked in one step.
const STEP: u64 = 4096;
/// The maximum number of strips and tiles of all directories of a file.
const MAX_CHUNKS: u64 = 1 << 25;

impl<R: Read + Seek> Tiff<R> {
    /// Checks the values and the pixels of a directory. `budget` counts down from [`MAX_CHUNKS`].
    pub(crate) fn check(&mut self, number: usize, budget: &mut Budget) -> Result<(), Kind> {
        for entry in &self.directories[number].entries {
            entry.check(&self.reader)?;
        }
        let directory = &self.directories[number];
        let place = directory.place;
        let needed = self.chunks(number)?;
        let (offsets, counts) = match self.directories[number].tile {
            Some(_) => (tags::TILE_OFFSETS, tags::TILE_BYTE_COUNTS),
            None => (tags::STRIP_OFFSETS, tags::STRIP_BYTE_COUNTS),
        };
        let entries = (self.numbers(number, offsets)?, self.numbers(number, counts)?);
        let (Some(offsets), counts) = entries else {
            return Err(malformed(format!("{place} does not state where its pixels are")));
        };
        let Some(counts) = counts else { return self.check_without_counts(number, &offsets) };
        if offsets.count < needed || counts.count < needed {
            let found = offsets.count.min(counts.count);
            return Err(malformed(format!("{place} states {found} strips or tiles of {needed}")));
        }
        budget.spend(needed)?;
        self.check_chunks(&format!("the pixels of {place}"), &offsets, &counts, needed)
    }

    fn numbers(&self, number: usize, tag: u16) -> Result<Option<Entry>, Kind> {
        match self.directories[number].entry(tag).copied() {
            Some(entry) if !entry.is_unsigned() || entry.count == 0 => {
                Err(malformed(format!("tag {tag} is not a number")))
            }
            entry => Ok(entry),
        }
    }

    /// Returns the number of strips or tiles of the image.
    fn chunks(&mut self, number: usize) -> Result<u64, Kind> {
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

    fn check_chunks(&mut self, what: &str, offsets: &Entry, counts: &Entry, chunks: u64) -> Result<(), Kind> {
        let (mut end, mut first) = (0, 0);
        while first < chunks {
            let step = STEP.min(chunks - first);
            let (starts, start_size) = offsets.slice(&mut self.reader, first, step)?;
            let (lengths, length_size) = counts.slice(&mut self.reader, first, step)?;
            for (start, length) in starts.chunks_exact(start_size).zip(lengths.chunks_exact(length_size)) {
                // A tile without bytes is omitted on purpose, regardless of its offset.
                match self.reader.number(length) {
                    0 => {}
                    length => end = end.max(self.reader.number(start).saturating_add(length)),
                }
            }
            first += step;
        }
        self.reader.check(what, 0, end)
    }

    /// Checks an uncompressed image with one strip. Old writers omit its byte count.
    fn check_without_counts(&mut self, number: usize, offsets: &Entry) -> Result<(), Kind> {
        let directory = &self.directories[number];
        if directory.compression != 1 || offsets.count != 1 {
            return Err(malformed(format!("{} does not state how many bytes its pixels have", directory.place)));
        }
        let row = u64::from(directory.width) * u64::from(directory.samples) * u64::from(directory.bits);
        let bytes = row.div_ceil(8).saturating_mul(directory.height.into());
        let what = format!("the pixels of {}", directory.place);
        let (start, size) = offsets.slice(&mut self.reader, 0, 1)?;
        self.reader.check(&what, self.reader.number(&start[..size]), bytes)
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
    fn spend(&mut self, chunks: u64) -> Result<(), Kind> {
        let left = self.0.checked_sub(chunks);
        self.0 = left.ok_or_else(|| malformed("its directories have too many strips and tiles"))?;
        Ok(())
    }
}
