use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use durable_fs::folder;
use tokio::sync::Mutex;

use crate::transfer::blocking::blocking;

/// The durability of a downloaded file under its final name. A killed process never damages a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing is synchronized. After a power failure, files under their final names can be damaged, which
    /// [`verify`](crate::verify()) finds.
    None,
    /// Each file is synchronized (`fsync`) before it is renamed, and its folder afterwards.
    #[default]
    File,
    /// Files that are complete at the same time are synchronized together (`syncfs`, on Linux) before they are renamed, with
    /// everything else that is written to their file system. This is faster for many small files on a separate disk. After a
    /// power failure, the last files may not be renamed. Where `syncfs` is unavailable or fails, like [`File`](Self::File).
    Batch,
}

/// Files that are synchronized together.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    /// The number of calls of `syncfs` that have begun.
    begun: AtomicU64,
    /// The number of the last successful call, by device. Locked during a call.
    done: Mutex<HashMap<u64, u64>>,
}

impl Batches {
    /// Waits until everything is durable that was written to the file system of a folder before the call. Returns false if
    /// `syncfs` is unavailable, or reports an error: it may concern another file, and is reported once only, so that each file
    /// has to be synchronized.
    pub(crate) async fn sync(&self, folder: &Path) -> io::Result<bool> {
        let before = self.begun.load(Ordering::SeqCst);
        let path = folder.to_owned();
        let device = blocking(move || device(&path)).await?;
        // Callers that arrive while it is held share the next call.
        let mut done = self.done.lock().await;
        if done.get(&device).is_some_and(|done| *done > before) {
            return Ok(true);
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let path = folder.to_owned();
        let synced = blocking(move || Ok(folder::sync_file_system(&path).unwrap_or(false))).await?;
        if synced {
            done.insert(device, number);
        }
        Ok(synced)
    }
}

fn device(folder: &Path) -> io::Result<u64> {
    #[cfg(unix)]
    {
        Ok(std::os::unix::fs::MetadataExt::dev(&folder.metadata()?))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn files_that_wait_together_are_synchronized_together() {
        let (batches, folder) = (Batches::default(), tempfile::tempdir().unwrap());
        // The first call begins at once, and all others wait for one more.
        let held = batches.done.lock().await;
        let mut waiting = Box::pin(join_all((0..50).map(|_| batches.sync(folder.path()))));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(held);
        assert!(waiting.await.into_iter().all(Result::unwrap));
        let calls = batches.begun.load(Ordering::SeqCst);
        assert!((1..=2).contains(&calls), "{calls} calls");
        assert!(batches.sync(folder.path()).await.unwrap());
        assert_eq!(batches.begun.load(Ordering::SeqCst), calls + 1, "what is written later is synchronized again");
    }
}
