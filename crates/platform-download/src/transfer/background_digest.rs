//! Background digest and sync of a large file while its parts are downloaded. The contiguous content from the start is
//! digested and synced, so that little work is left after the last part.
//!
//! No thread waits for parts: those of the pool are needed to write them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::positioned;
use futures_util::FutureExt;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::digest::Running;

/// The number of parts between two calls of the disk. Digests are computed after each part, while it is in the page cache.
const STEP: u64 = 4;

/// Follows a file as it grows. After a drop, the current step is its last access to the file.
#[derive(Debug)]
pub(crate) struct BackgroundDigest {
    step: u64,
    /// `None` if nothing is read back.
    digest: Option<Work<(File, Running)>>,
    /// The number of bytes that were synchronized; `None` if the file is not synchronized early.
    sync: Option<Work<u64>>,
    written: Arc<File>,
    path: PathBuf,
}

/// Something that is done step by step.
#[derive(Debug)]
enum Work<T> {
    Idle(T),
    Busy(JoinHandle<io::Result<T>>),
    Failed(io::Error),
}

impl<T: Send + 'static> Work<T> {
    /// Does the next step, unless it is still busy with the last one, has failed, or is where it should be.
    fn go_on(self, is_due: impl FnOnce(&T) -> bool, step: impl FnOnce(T) -> io::Result<T> + Send + 'static) -> Self {
        let now = match self {
            Self::Busy(mut task) => match (&mut task).now_or_never() {
                Some(ended) => {
                    ended.unwrap_or_else(|error| Err(io::Error::other(error))).map_or_else(Self::Failed, Self::Idle)
                }
                None => Self::Busy(task),
            },
            other => other,
        };
        match now {
            Self::Idle(so_far) if is_due(&so_far) => Self::Busy(spawn_blocking(move || step(so_far))),
            other => other,
        }
    }

    async fn finish(self) -> io::Result<T> {
        match self {
            Self::Idle(done) => Ok(done),
            Self::Busy(task) => task.await.unwrap_or_else(|error| Err(io::Error::other(error))),
            Self::Failed(error) => Err(error),
        }
    }
}

impl BackgroundDigest {
    /// Follows a file of `bytes` in parts of `chunk` bytes, if it is large enough: continues the digest `running`, and
    /// synchronizes if `is_synced`. Opens handles of its own, without a lock.
    pub(crate) fn follow(
        open: impl Fn() -> io::Result<File>,
        path: &Path,
        (bytes, chunk): (u64, u64),
        running: Option<Running>,
        is_synced: bool,
    ) -> io::Result<Option<Self>> {
        let step = STEP * chunk;
        if bytes < 2 * step || (running.is_none() && !is_synced) {
            return Ok(None);
        }
        let digest = running.map(|running| Ok::<_, io::Error>(Work::Idle((open()?, running)))).transpose()?;
        let (sync, written) = (is_synced.then_some(Work::Idle(0)), Arc::new(open()?));
        Ok(Some(Self { step, digest, sync, written, path: path.to_owned() }))
    }

    /// Reports that the file is complete from its start up to `end`.
    pub(crate) fn reached(self, end: u64) -> Self {
        let Self { step, digest, sync, written, path } = self;
        let read = move |(mut file, mut running): (File, Running)| {
            file.seek(SeekFrom::Start(running.bytes()))?;
            running.read(Read::by_ref(&mut file).take(end - running.bytes()))?;
            Ok((file, running))
        };
        let digest = digest.map(|digest| digest.go_on(|(_, running)| end > running.bytes(), read));
        let (file, name) = (written.clone(), path.clone());
        // Linux reports a write error to one of the handles that share a file description, so it must be kept.
        let send = move |_| positioned::sync_data(&file, &name).map(|()| end);
        let sync = sync.map(|sync| sync.go_on(|done| end >= done + step, send));
        Self { step, digest, sync, written, path }
    }

    /// Returns the digest of the start of the file, if any, and the outcome of the early synchronization.
    pub(crate) async fn finish(self) -> (io::Result<Option<Running>>, io::Result<()>) {
        let running = match self.digest {
            Some(digest) => digest.finish().await.map(|(_, running)| Some(running)),
            None => Ok(None),
        };
        let sent = match self.sync {
            Some(sync) => sync.finish().await.map(|_| ()),
            None => Ok(()),
        };
        (running, sent)
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
        let bytes = 2 * STEP * CHUNK;
        let content: Vec<u8> = (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect();
        fs::write(file.path(), &content).unwrap();
        let open = || fs::OpenOptions::new().read(true).write(true).open(file.path());
        let follow = |bytes| {
            BackgroundDigest::follow(open, file.path(), (bytes, CHUNK), Some(Running::new(true)), true).unwrap()
        };
        assert!(follow(bytes - 1).is_none(), "it is small");
        let (running, sent) = follow(bytes).unwrap().reached(STEP * CHUNK + 7).finish().await;
        sent.unwrap();
        let running = running.unwrap().unwrap();
        assert_eq!(running.bytes(), STEP * CHUNK + 7);
        let known = running.finish();
        assert_eq!(known.crc32c, Crc32c::of(&content[..usize::try_from(STEP * CHUNK).unwrap() + 7]));
    }
}
