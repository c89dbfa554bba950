use bytes::Bytes;

use crate::checksum::Crc32c;
use crate::digest::{Digest, Sha256};

/// The content of a small file that is in memory and not yet on disk.
#[derive(Debug, Default)]
pub(crate) struct CollectedContent {
    pieces: Vec<Bytes>,
    bytes: u64,
    crc32c: Crc32c,
}

impl CollectedContent {
    pub(crate) fn add(&mut self, pieces: Vec<Bytes>) {
        for piece in &pieces {
            self.bytes += piece.len() as u64;
            self.crc32c = self.crc32c.append(piece);
        }
        self.pieces.extend(pieces);
    }

    pub(crate) fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn crc32c(&self) -> Crc32c {
        self.crc32c
    }

    pub(crate) fn digest(&self, has_sha256: bool) -> Digest {
        let sha256 = has_sha256.then(|| Sha256::of_pieces(&self.pieces));
        Digest { bytes: self.bytes, crc32c: self.crc32c, sha256 }
    }
}
