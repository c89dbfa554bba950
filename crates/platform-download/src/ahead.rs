//! Background digest and sync of a large file while its parts are downloaded. The contiguous content from the start is
//! digested and synced, so that little work is left after the last part.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::task::{JoinHandle, spawn_blocking};

use crate::digest::Running;

/// The minimum number of new bytes before the next sync. Digests follow immediately, while the data are still cached.
const STEP: u64 = 32 << 20;

/// Follows a file as it grows. After a drop, the current step is its last access to the file.
#[derive(Debug)]
pub(crate) struct Ahead {
    digest: Sender<u64>,
    sync: Sender<u64>,
    digested: JoinHandle<io::Result<Running>>,
}

impl Ahead {
    /// Follows a file of `bytes` bytes, if it is large enough. It has its own, unlocked file handles.
    pub(crate) fn follow(open: impl Fn() -> io::Result<File>, bytes: u64) -> io::Result<Option<Self>> {
        if bytes < 2 * STEP {
            return Ok(None);
        }
        let (mut read, written) = (open()?, open()?);
        let (digest, digestible) = channel();
        let (sync, syncable) = channel();
        let digested = spawn_blocking(move || {
            let mut running = Running::default();
            each_step(&digestible, 1, |end| {
                read.seek(SeekFrom::Start(running.bytes()))?;
                running.read(Read::by_ref(&mut read).take(end - running.bytes()))
            })?;
            Ok(running)
        });
        // An early sync is optional; a failure shows at the final sync.
        drop(spawn_blocking(move || each_step(&syncable, STEP, |_| written.sync_data())));
        Ok(Some(Self { digest, sync, digested }))
    }

    /// Reports that the file is complete from its start up to `end`.
    pub(crate) fn reached(&self, end: u64) {
        for teller in [&self.digest, &self.sync] {
            // The error of a stopped worker is reported elsewhere.
            let _ = teller.send(end);
        }
    }

    /// Returns the digest of the content so far, from the start.
    pub(crate) async fn finish(self) -> io::Result<Running> {
        let Self { digest, sync, digested } = self;
        drop((digest, sync));
        digested.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

/// Calls `work` with an end at least `step` bytes beyond the previous one, until the channel is closed.
fn each_step(ends: &Receiver<u64>, step: u64, mut work: impl FnMut(u64) -> io::Result<()>) -> io::Result<()> {
    let mut done = 0;
    while let Ok(end) = ends.recv() {
        let end = ends.try_iter().last().unwrap_or(end);
        if end >= done + step {
            work(end)?;
            done = end;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Crc32c;

    #[tokio::test]
    async fn existing_data_is_digested_incrementally() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..2 * STEP).map(|at| u8::try_from(at % 251).unwrap()).collect();
        fs::write(file.path(), &content).unwrap();
        let open = || fs::OpenOptions::new().read(true).write(true).open(file.path());
        assert!(Ahead::follow(open, 2 * STEP - 1).unwrap().is_none(), "it is small");
        let ahead = Ahead::follow(open, 2 * STEP).unwrap().unwrap();
        ahead.reached(STEP + 7);
        let running = ahead.finish().await.unwrap();
        assert_eq!(running.bytes(), STEP + 7);
        let known = running.finish();
        assert_eq!(known.crc32c, Crc32c::of(&content[..usize::try_from(STEP).unwrap() + 7]));
    }
}
