//! The pieces of a partial file, in memory.

use std::collections::BTreeMap;
use std::fs::File;

use super::Object;
use crate::transfer::plan::CompletedRange;

/// The pieces of a partial file, its object, and its state file.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) object: Option<Object>,
    /// The pieces that were received or read, by their start.
    pub(super) pieces: BTreeMap<u64, CompletedRange>,
    /// The pieces of an earlier download that were not read yet, by their start.
    pub(super) unread: BTreeMap<u64, CompletedRange>,
    /// The end of the contiguous pieces from offset 0. It is updated incrementally, because computing it again for each
    /// piece would take quadratic time.
    pub(super) contiguous_end: u64,
    /// The state file; `None` until its first line is written.
    pub(super) log: Option<File>,
    pub(super) phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// The content was not examined yet. It may be usable.
    #[default]
    Unknown,
    /// The pieces of the file are known.
    Known,
    /// The file was renamed or removed.
    Gone,
}

impl State {
    /// Returns all pieces in order.
    pub(super) fn all(&self) -> Vec<CompletedRange> {
        let mut all: Vec<_> = self.pieces.values().chain(self.unread.values()).copied().collect();
        all.sort_by_key(|piece| piece.start);
        all
    }

    pub(super) fn add(&mut self, piece: CompletedRange) {
        self.unread.remove(&piece.start);
        self.pieces.insert(piece.start, piece);
        // An empty file has an empty piece. Without the filter, it would cause an endless loop.
        while let Some(next) = self.pieces.get(&self.contiguous_end).filter(|piece| piece.bytes > 0) {
            self.contiguous_end = next.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::checksum::Crc32c;
    use crate::transfer::partial_file::state;
    use crate::transfer::plan::{combined_crc32c, first_missing_range, missing_ranges};

    #[test]
    fn contiguous_end_does_not_depend_on_the_order_of_pieces() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..50 {
            let mut starts: Vec<u64> = (0..40).collect();
            random.shuffle(&mut starts);
            let mut state = State::default();
            for start in starts {
                state.add(CompletedRange { start: start * 7, bytes: 7, crc32c: Crc32c::default() });
                let pieces: Vec<_> = state.pieces.values().copied().collect();
                assert_eq!(state.contiguous_end, first_missing_range(&pieces, None, 1).start);
            }
            assert_eq!(state.contiguous_end, 280);
        }
    }

    /// With a quadratic algorithm, this test would take minutes.
    #[test]
    fn hundred_thousand_pieces_are_recorded_quickly() {
        let folder = TempDir::new().unwrap();
        let (path, bytes) = (folder.path().join(".file.state"), 100_000);
        let object = Object { bytes, expected_crc32c: None, etag: None, generation: None };
        let mut pieces: Vec<_> =
            (0..bytes).map(|start| CompletedRange { start, bytes: 1, crc32c: Crc32c::default() }).collect();
        fastrand::Rng::with_seed(4).shuffle(&mut pieces);
        state::replace(&path, &object, &pieces).unwrap();
        let (_, recorded_pieces) = state::read(&path).unwrap().unwrap();
        assert_eq!(recorded_pieces, pieces);
        let mut state = State::default();
        for (index, piece) in recorded_pieces.into_iter().enumerate() {
            state.add(piece);
            if index == 50_000 {
                let all = state.all();
                assert_eq!(missing_ranges(&all, bytes, 1).len(), 49_999);
                assert!(combined_crc32c(&all, bytes).is_none());
            }
        }
        assert_eq!(state.contiguous_end, bytes);
        assert!(combined_crc32c(&state.all(), bytes).is_some());
    }
}
