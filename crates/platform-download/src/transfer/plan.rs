//! Pure functions that decide which ranges to download and in which order.

use std::cmp::Reverse;
use std::ops::Range;

use crate::Crc32c;

/// A range of a file that was downloaded completely, with its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompletedRange {
    pub(crate) start: u64,
    pub(crate) bytes: u64,
    pub(crate) crc32c: Crc32c,
}

impl CompletedRange {
    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes
    }
}

/// Returns the first missing range of a file, with at most `chunk` bytes. `bytes` is the length of the file, if it is
/// known. `pieces` must be ordered by offset.
pub(crate) fn first_missing_range(pieces: &[CompletedRange], bytes: Option<u64>, chunk: u64) -> Range<u64> {
    let start = pieces.iter().fold(0, |end, piece| if piece.start <= end { piece.end().max(end) } else { end });
    let next_piece = pieces.iter().map(|piece| piece.start).find(|piece_start| *piece_start > start);
    let limit = [next_piece, bytes].into_iter().flatten().min().unwrap_or(u64::MAX);
    start..start.saturating_add(chunk).min(limit)
}

/// Returns all missing ranges of a file of `bytes` bytes, each with at most `chunk` bytes. `pieces` must be ordered by
/// offset.
pub(crate) fn missing_ranges(pieces: &[CompletedRange], bytes: u64, chunk: u64) -> Vec<Range<u64>> {
    let mut parts = Vec::new();
    let mut start = 0;
    let ends = pieces.iter().map(|piece| (piece.start, piece.end())).chain([(bytes, bytes)]);
    for (next, end) in ends {
        while start < next.min(bytes) {
            let part = start..next.min(bytes).min(start.saturating_add(chunk));
            start = part.end;
            parts.push(part);
        }
        start = start.max(end);
    }
    parts
}

/// Returns the checksum of a whole file of `bytes` bytes, or `None` if the pieces do not cover it.
pub(crate) fn combined_crc32c(pieces: &[CompletedRange], bytes: u64) -> Option<Crc32c> {
    let mut contiguous = (0, Crc32c::default());
    for piece in pieces {
        if piece.start != contiguous.0 {
            return None;
        }
        contiguous = (piece.end(), contiguous.1.combine(piece.crc32c, piece.bytes));
    }
    (contiguous.0 == bytes).then_some(contiguous.1)
}

/// A queue that returns the largest file first. This way, no large file is left to be downloaded alone at the end, and
/// small files fill idle connections. Files of equal size are returned in the order in which they were added.
#[derive(Debug)]
pub struct Queue<T> {
    files: std::collections::BTreeMap<(Reverse<u64>, u64), T>,
    next: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { files: std::collections::BTreeMap::new(), next: 0 }
    }
}

impl<T> Queue<T> {
    /// Adds a file of `bytes` bytes; use 0 if the length is unknown.
    pub fn push(&mut self, bytes: u64, file: T) {
        self.files.insert((Reverse(bytes), self.next), file);
        self.next += 1;
    }

    /// Removes and returns the next file.
    pub fn pop(&mut self) -> Option<T> {
        self.files.pop_first().map(|(_, file)| file)
    }

    /// Returns the files in the order in which [`pop`](Self::pop) would return them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.files.values()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece(start: u64, bytes: u64) -> CompletedRange {
        CompletedRange { start, bytes, crc32c: Crc32c::default() }
    }

    #[test]
    fn plan_covers_only_missing_ranges() {
        for (pieces, bytes, expected) in [
            (vec![], 0, vec![]),
            (vec![], 10, vec![0..4, 4..8, 8..10]),
            (vec![piece(0, 4)], 10, vec![4..8, 8..10]),
            (vec![piece(4, 4)], 10, vec![0..4, 8..10]),
            (vec![piece(0, 4), piece(4, 4), piece(8, 2)], 10, vec![]),
            (vec![piece(3, 1)], 5, vec![0..3, 4..5]),
        ] {
            assert_eq!(missing_ranges(&pieces, bytes, 4), expected, "{pieces:?}");
        }
    }

    #[test]
    fn first_missing_range_is_the_first_gap() {
        for (pieces, bytes, expected) in [
            (vec![], None, 0..4),
            (vec![], Some(3), 0..3),
            (vec![piece(0, 4)], None, 4..8),
            (vec![piece(2, 4)], None, 0..2),
            (vec![piece(0, 4), piece(6, 4)], Some(20), 4..6),
            (vec![piece(0, 4)], Some(5), 4..5),
        ] {
            assert_eq!(first_missing_range(&pieces, bytes, 4), expected, "{pieces:?} {bytes:?}");
        }
    }

    #[test]
    fn queue_returns_the_largest_file_first() {
        let mut queue = Queue::default();
        for (bytes, name) in [(1, "a"), (7, "b"), (1, "c"), (9, "d"), (7, "e")] {
            queue.push(bytes, name);
        }
        assert_eq!(queue.iter().copied().collect::<String>(), "dbeac");
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, ["d", "b", "e", "a", "c"]);
    }

    proptest! {
        #[test]
        fn pieces_and_missing_ranges_cover_every_byte_once(
            content in proptest::collection::vec(any::<u8>(), 0..300), chunk in 1_u64..70, present_mask in any::<u64>()
        ) {
            let bytes = content.len() as u64;
            let piece_of = |part: &Range<u64>| {
                let slice = &content[usize::try_from(part.start).unwrap()..usize::try_from(part.end).unwrap()];
                CompletedRange { start: part.start, bytes: part.end - part.start, crc32c: Crc32c::of(slice) }
            };
            let all_ranges = missing_ranges(&[], bytes, chunk);
            let existing_ranges = (0..).zip(&all_ranges).filter(|(index, _)| present_mask >> (index % 64) & 1 == 1);
            let existing_pieces: Vec<_> = existing_ranges.map(|(_, part)| piece_of(part)).collect();
            let missing_parts = missing_ranges(&existing_pieces, bytes, chunk);
            let missing_pieces = missing_parts.iter().map(piece_of);
            let mut all_pieces: Vec<_> = existing_pieces.iter().copied().chain(missing_pieces).collect();
            all_pieces.sort_by_key(|piece| piece.start);
            prop_assert_eq!(combined_crc32c(&all_pieces, bytes), Some(Crc32c::of(&content)));
            if missing_parts.is_empty() {
                prop_assert_eq!(existing_pieces.len(), all_ranges.len());
            } else {
                prop_assert_eq!(combined_crc32c(&existing_pieces, bytes), None);
                prop_assert_eq!(&first_missing_range(&existing_pieces, Some(bytes), chunk), &missing_parts[0]);
            }
        }
    }
}
