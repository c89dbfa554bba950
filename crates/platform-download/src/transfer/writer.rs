use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::Crc32c;
use crate::digest::{Digest, RunningDigest};
use crate::transfer::collected::CollectedContent;
use crate::transfer::partial_file::{Epoch, PartialFile};
use crate::transfer::plan::CompletedRange;

/// A sequential writer of a range of a file. It computes the checksum of the bytes while they are in the processor
/// caches. One block is written while the next block is received. The content of a small file is collected in memory
/// instead.
#[derive(Debug)]
pub(crate) struct Writer {
    part: Arc<PartialFile>,
    epoch: Epoch,
    start: u64,
    /// The offset in the file after the bytes that were passed to [`write`](Self::write).
    offset: u64,
    /// The checksums of the bytes so far. `None` while a write is pending, and after a failed write.
    checksums: Option<Checksums>,
    pending: Option<JoinHandle<io::Result<Checksums>>>,
    /// The content of a small file, which this writer does not write to disk.
    collected: Option<CollectedContent>,
}

/// The checksums of the written bytes.
#[derive(Debug)]
enum Checksums {
    Range(Crc32c),
    /// All digests, because the range is the whole file.
    Whole(Box<RunningDigest>),
}

impl Writer {
    /// Creates a writer that starts at the offset `start`. `is_whole` is true if it writes the whole file.
    pub(crate) fn new(part: Arc<PartialFile>, start: u64, is_whole: bool) -> Self {
        let checksums =
            if is_whole { Checksums::Whole(Box::new(part.new_digest())) } else { Checksums::Range(Crc32c::default()) };
        let epoch = part.epoch();
        Self { part, epoch, start, offset: start, checksums: Some(checksums), pending: None, collected: None }
    }

    /// Creates a writer that collects a whole file in memory.
    pub(crate) fn in_memory(part: Arc<PartialFile>) -> Self {
        Self { collected: Some(CollectedContent::default()), ..Self::new(part, 0, false) }
    }

    /// Returns the content that was collected in memory; `None` if the writer writes to disk.
    pub(crate) fn into_collected_content(self) -> Option<CollectedContent> {
        self.collected
    }

    /// Returns the offset in the file after the written bytes.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the epoch of the partial file in which the writer was created.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Waits until the previous block is written, and starts to write a block that consists of `chunks`.
    pub(crate) async fn write(&mut self, chunks: Vec<Bytes>) -> io::Result<()> {
        if let Some(collected) = &mut self.collected {
            collected.add(chunks);
            self.offset = self.start + collected.bytes();
            return Ok(());
        }
        let mut checksums = self.wait_for_pending().await?;
        let (part, epoch, mut offset) = (self.part.clone(), self.epoch, self.offset);
        self.offset += chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        self.pending = Some(spawn_blocking(move || {
            for chunk in chunks {
                match &mut checksums {
                    Checksums::Range(crc32c) => *crc32c = crc32c.append(&chunk),
                    Checksums::Whole(running) => running.update(&chunk),
                }
                part.write(epoch, &chunk, offset)?;
                offset += chunk.len() as u64;
            }
            Ok(checksums)
        }));
        Ok(())
    }

    async fn wait_for_pending(&mut self) -> io::Result<Checksums> {
        let checksums = match self.pending.take() {
            Some(pending) => Some(pending.await.unwrap_or_else(|error| Err(io::Error::other(error)))?),
            None => self.checksums.take(),
        };
        checksums.ok_or_else(|| io::Error::other("an earlier write failed"))
    }

    /// Waits until all blocks are written. Returns the written range, and the digest if it is the whole file.
    pub(crate) async fn finish(mut self) -> io::Result<(CompletedRange, Option<Digest>)> {
        let checksums = self.wait_for_pending().await?;
        let (crc32c, digest) = match checksums {
            Checksums::Range(crc32c) => (crc32c, None),
            Checksums::Whole(running) => {
                let digest = running.finish();
                (digest.crc32c, Some(digest))
            }
        };
        Ok((CompletedRange { start: self.start, bytes: self.offset - self.start, crc32c }, digest))
    }
}
