//! The pieces of a part, in memory.

use std::collections::BTreeMap;
use std::fs::File;

use super::Object;
use crate::transfer::plan::CompletedRange;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) object: Option<Object>,
    /// Pieces that were received or read, by their start.
    pub(super) pieces: BTreeMap<u64, CompletedRange>,
    /// Unread pieces of an earlier download, by their start.
    pub(super) unread: BTreeMap<u64, CompletedRange>,
    /// The end of the contiguous pieces from the start. It is updated incrementally, because recomputing it for each
    /// piece would take quadratic time.
    pub(super) reached: u64,
    /// Opened for the first line.
    pub(super) log: Option<File>,
    pub(super) phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not examined yet; it may contain usable content.
    #[default]
    Unknown,
    /// Its pieces are known.
    Known,
    /// It was renamed or removed.
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
        // The piece of an empty file is empty.
        while let Some(next) = self.pieces.get(&self.reached).filter(|piece| piece.bytes > 0) {
            self.reached = next.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::checksum::Crc32c;
    use crate::transfer::partial_file::state;
    use crate::transfer::plan::{combined, first_missing, missing};

    #[test]
    fn reached_follows_the_pieces_in_any_order() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..50 {
            let mut starts: Vec<u64> = (0..40).collect();
            random.shuffle(&mut starts);
            let mut state = State::default();
            for start in starts {
                state.add(CompletedRange { start: start * 7, bytes: 7, crc32c: Crc32c::default() });
                let pieces: Vec<_> = state.pieces.values().copied().collect();
                assert_eq!(state.reached, first_missing(&pieces, None, 1).start);
            }
            assert_eq!(state.reached, 280);
        }
    }

    /// Quadratic bookkeeping would take minutes.
    #[test]
    fn hundred_thousand_pieces_are_no_burden() {
        let folder = TempDir::new().unwrap();
        let (path, bytes) = (folder.path().join(".file.state"), 100_000);
        let object = Object { bytes, stated: None, etag: None, generation: None };
        let mut pieces: Vec<_> =
            (0..bytes).map(|start| CompletedRange { start, bytes: 1, crc32c: Crc32c::default() }).collect();
        fastrand::Rng::with_seed(4).shuffle(&mut pieces);
        state::replace(&path, &object, &pieces).unwrap();
        let (_, stated) = state::read(&path).unwrap().unwrap();
        assert_eq!(stated, pieces);
        let mut state = State::default();
        for (number, piece) in stated.into_iter().enumerate() {
            state.add(piece);
            if number == 50_000 {
                let all = state.all();
                assert_eq!(missing(&all, bytes, 1).len(), 49_999);
                assert!(combined(&all, bytes).is_none());
            }
        }
        assert_eq!(state.reached, bytes);
        assert!(combined(&state.all(), bytes).is_some());
    }
}
