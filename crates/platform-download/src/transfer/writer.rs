use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::Crc32c;
use crate::digest::{Digest, Running};
use crate::transfer::collected::Collected;
use crate::transfer::partial_file::{Epoch, PartialFile};
use crate::transfer::plan::CompletedRange;

/// A sequential writer of bytes into a part of a file. It computes their checksum while they are in the processor
/// caches. The next block can be received while one is written. A small file is collected in memory instead.
#[derive(Debug)]
pub(crate) struct Writer {
    part: Arc<PartialFile>,
    epoch: Epoch,
    start: u64,
    /// The position, including the block being written.
    at: u64,
    sums: Option<Sums>,
    pending: Option<JoinHandle<io::Result<Sums>>>,
    /// The content of a small file, with its checksum.
    collected: Option<Collected>,
}

/// The digests computed so far.
#[derive(Debug)]
enum Sums {
    CompletedRange(Crc32c),
    /// The digest of a whole file.
    Whole(Box<Running>),
}

impl Writer {
    /// Creates a writer from `start`; `whole` if it writes the whole file.
    pub(crate) fn new(part: Arc<PartialFile>, start: u64, whole: bool) -> Self {
        let sums = if whole { Sums::Whole(Box::new(part.running())) } else { Sums::CompletedRange(Crc32c::default()) };
        let epoch = part.epoch();
        Self { part, epoch, start, at: start, sums: Some(sums), pending: None, collected: None }
    }

    /// Creates a writer of a whole file that stays in memory.
    pub(crate) fn in_memory(part: Arc<PartialFile>) -> Self {
        Self { collected: Some(Collected::default()), ..Self::new(part, 0, false) }
    }

    /// Returns the content of a file that stays in memory.
    pub(crate) fn into_collected(self) -> Option<Collected> {
        self.collected
    }

    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Returns the epoch of the part that it writes in.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Waits until the previous block is written, and starts to write this one.
    pub(crate) async fn write(&mut self, pieces: Vec<Bytes>) -> io::Result<()> {
        if let Some(collected) = &mut self.collected {
            collected.add(pieces);
            self.at = self.start + collected.bytes();
            return Ok(());
        }
        let mut sums = self.settle().await?;
        let (part, epoch, mut at) = (self.part.clone(), self.epoch, self.at);
        self.at += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        self.pending = Some(spawn_blocking(move || {
            for piece in pieces {
                match &mut sums {
                    Sums::CompletedRange(crc32c) => *crc32c = crc32c.append(&piece),
                    Sums::Whole(running) => running.update(&piece),
                }
                part.write(epoch, &piece, at)?;
                at += piece.len() as u64;
            }
            Ok(sums)
        }));
        Ok(())
    }

    async fn settle(&mut self) -> io::Result<Sums> {
        let written = match self.pending.take() {
            Some(pending) => Some(pending.await.unwrap_or_else(|error| Err(io::Error::other(error)))?),
            None => self.sums.take(),
        };
        written.ok_or_else(|| io::Error::other("an earlier write failed"))
    }

    /// Waits until all blocks are written. Returns the piece, and the digest if it is the whole file.
    pub(crate) async fn finish(mut self) -> io::Result<(CompletedRange, Option<Digest>)> {
        let sums = self.settle().await?;
        let (crc32c, digest) = match sums {
            Sums::CompletedRange(crc32c) => (crc32c, None),
            Sums::Whole(running) => {
                let digest = running.finish();
                (digest.crc32c, Some(digest))
            }
        };
        Ok((CompletedRange { start: self.start, bytes: self.at - self.start, crc32c }, digest))
    }
}
