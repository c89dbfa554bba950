use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::Crc32c;
use crate::digest::{Digest, RunningDigest};
use crate::transfer::collected::Collected;
use crate::transfer::partial_file::{Epoch, PartialFile};
use crate::transfer::plan::CompletedRange;

/// A sequential writer of a range of a file. It computes the checksum of the bytes while they are in the processor
/// caches. One block is written while the next is received. The content of a small file is collected in memory instead.
#[derive(Debug)]
pub(crate) struct Writer {
    part: Arc<PartialFile>,
    epoch: Epoch,
    start: u64,
    /// The offset in the file after the bytes that were passed to [`write`](Self::write).
    at: u64,
    sums: Option<Sums>,
    pending: Option<JoinHandle<io::Result<Sums>>>,
    /// The content of a small file, which is not written to disk here.
    collected: Option<Collected>,
}

/// The checksums of the written bytes.
#[derive(Debug)]
enum Sums {
    Range(Crc32c),
    /// All digests, because the range is the whole file.
    Whole(Box<RunningDigest>),
}

impl Writer {
    /// Creates a writer that starts at the offset `start`. `whole` is true if it writes the whole file.
    pub(crate) fn new(part: Arc<PartialFile>, start: u64, whole: bool) -> Self {
        let sums = if whole { Sums::Whole(Box::new(part.new_digest())) } else { Sums::Range(Crc32c::default()) };
        let epoch = part.epoch();
        Self { part, epoch, start, at: start, sums: Some(sums), pending: None, collected: None }
    }

    /// Creates a writer that collects a whole file in memory.
    pub(crate) fn in_memory(part: Arc<PartialFile>) -> Self {
        Self { collected: Some(Collected::default()), ..Self::new(part, 0, false) }
    }

    /// Returns the content that was collected in memory; `None` if the writer writes to disk.
    pub(crate) fn into_collected(self) -> Option<Collected> {
        self.collected
    }

    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Returns the epoch of the partial file in which the writer was created.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Waits until the previous block is written, and starts to write the block `pieces`.
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
                    Sums::Range(crc32c) => *crc32c = crc32c.append(&piece),
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

    /// Waits until all blocks are written. Returns the written range, and the digest if it is the whole file.
    pub(crate) async fn finish(mut self) -> io::Result<(CompletedRange, Option<Digest>)> {
        let sums = self.settle().await?;
        let (crc32c, digest) = match sums {
            Sums::Range(crc32c) => (crc32c, None),
            Sums::Whole(running) => {
                let digest = running.finish();
                (digest.crc32c, Some(digest))
            }
        };
        Ok((CompletedRange { start: self.start, bytes: self.at - self.start, crc32c }, digest))
    }
}
