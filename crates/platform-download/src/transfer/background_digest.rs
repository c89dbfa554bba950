//! Digest and sync of a large file in the background, while its parts are downloaded. The contiguous content from the
//! start of the file is digested and synced, so that little work remains after the last part.
//!
//! No thread waits for parts, because the threads of the pool are needed to write them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::positioned;
use futures_util::FutureExt;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::digest::RunningDigest;

/// The number of parts between two syncs. The digest is updated after each part, while the part is in the page cache.
const SYNC_INTERVAL_PARTS: u64 = 4;

/// The digest and the sync of a file that is being written. After it is dropped, a running step completes, but no
/// further step starts.
#[derive(Debug)]
pub(crate) struct BackgroundDigest {
    /// The number of bytes between two syncs.
    sync_interval: u64,
    /// The digest so far; `None` if no digest is computed from the file.
    digest: Option<Work<(File, RunningDigest)>>,
    /// The number of bytes that were synced; `None` if the file is not synced in the background.
    sync: Option<Work<u64>>,
    sync_file: Arc<File>,
    path: PathBuf,
}

/// Work that is done in steps, one at a time, on a thread for blocking calls.
#[derive(Debug)]
enum Work<T> {
    Idle(T),
    Busy(JoinHandle<io::Result<T>>),
    Failed(io::Error),
}

impl<T: Send + 'static> Work<T> {
    /// Starts the next step if `is_due` returns true for the state, unless a step is running or has failed.
    fn advance(self, is_due: impl FnOnce(&T) -> bool, step: impl FnOnce(T) -> io::Result<T> + Send + 'static) -> Self {
        let work = match self {
            Self::Busy(mut task) => match (&mut task).now_or_never() {
                Some(outcome) => {
                    outcome.unwrap_or_else(|error| Err(io::Error::other(error))).map_or_else(Self::Failed, Self::Idle)
                }
                None => Self::Busy(task),
            },
            other => other,
        };
        match work {
            Self::Idle(state) if is_due(&state) => Self::Busy(spawn_blocking(move || step(state))),
            other => other,
        }
    }

    async fn finish(self) -> io::Result<T> {
        match self {
            Self::Idle(state) => Ok(state),
            Self::Busy(task) => task.await.unwrap_or_else(|error| Err(io::Error::other(error))),
            Self::Failed(error) => Err(error),
        }
    }
}

impl BackgroundDigest {
    /// Starts the work for a file of `bytes` bytes that is written in parts of `chunk` bytes. Returns `None` if the
    /// file is too small. `running` is the digest to continue, if any. The file is synced if `should_sync` is set.
    /// `open` returns another handle of the file, which does not hold the lock of the file.
    pub(crate) fn start_if_large(
        open: impl Fn() -> io::Result<File>,
        path: &Path,
        (bytes, chunk): (u64, u64),
        running: Option<RunningDigest>,
        should_sync: bool,
    ) -> io::Result<Option<Self>> {
        let sync_interval = SYNC_INTERVAL_PARTS * chunk;
        if bytes < 2 * sync_interval || (running.is_none() && !should_sync) {
            return Ok(None);
        }
        let digest = running.map(|running| Ok::<_, io::Error>(Work::Idle((open()?, running)))).transpose()?;
        let (sync, sync_file) = (should_sync.then_some(Work::Idle(0)), Arc::new(open()?));
        Ok(Some(Self { sync_interval, digest, sync, sync_file, path: path.to_owned() }))
    }

    /// Starts the next steps. The caller ensures that the file is complete from its start up to the offset `end`.
    pub(crate) fn advance_to(self, end: u64) -> Self {
        let Self { sync_interval, digest, sync, sync_file, path } = self;
        let read = move |(mut file, mut running): (File, RunningDigest)| {
            file.seek(SeekFrom::Start(running.bytes()))?;
            running.read(Read::by_ref(&mut file).take(end - running.bytes()))?;
            Ok((file, running))
        };
        let digest = digest.map(|digest| digest.advance(|(_, running)| end > running.bytes(), read));
        let (file, name) = (sync_file.clone(), path.clone());
        // The result must be checked: Linux reports a write error only once for each file description, so that a later
        // sync would succeed.
        let sync_to_end = move |_| positioned::sync_data(&file, &name).map(|()| end);
        let sync = sync.map(|sync| sync.advance(|synced_bytes| end >= synced_bytes + sync_interval, sync_to_end));
        Self { sync_interval, digest, sync, sync_file, path }
    }

    /// Returns the digest of the start of the file, if one is computed, and the outcome of the background sync.
    pub(crate) async fn finish(self) -> (io::Result<Option<RunningDigest>>, io::Result<()>) {
        let running = match self.digest {
            Some(digest) => digest.finish().await.map(|(_, running)| Some(running)),
            None => Ok(None),
        };
        let outcome = match self.sync {
            Some(sync) => sync.finish().await.map(|_| ()),
            None => Ok(()),
        };
        (running, outcome)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Crc32c;

    const CHUNK: u64 = 64 << 10;

    #[tokio::test]
    async fn existing_data_is_digested_incrementally() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes = 2 * SYNC_INTERVAL_PARTS * CHUNK;
        let content: Vec<u8> = (0..bytes).map(|index| u8::try_from(index % 251).unwrap()).collect();
        fs::write(file.path(), &content).unwrap();
        let open = || fs::OpenOptions::new().read(true).write(true).open(file.path());
        let start = |bytes| {
            BackgroundDigest::start_if_large(open, file.path(), (bytes, CHUNK), Some(RunningDigest::new(true)), true)
                .unwrap()
        };
        assert!(start(bytes - 1).is_none(), "the file is too small");
        let (running, synced) = start(bytes).unwrap().advance_to(SYNC_INTERVAL_PARTS * CHUNK + 7).finish().await;
        synced.unwrap();
        let running = running.unwrap().unwrap();
        assert_eq!(running.bytes(), SYNC_INTERVAL_PARTS * CHUNK + 7);
        let digest = running.finish();
        assert_eq!(digest.crc32c, Crc32c::of(&content[..usize::try_from(SYNC_INTERVAL_PARTS * CHUNK).unwrap() + 7]));
    }
}
