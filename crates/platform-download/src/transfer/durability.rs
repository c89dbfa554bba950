use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use durable_fs::folder;
use tokio::sync::Mutex;

use crate::transfer::blocking::blocking;

/// The protection of published files against power failures. In all variants, a killed process leaves no incomplete
/// file under a final name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Files are not synced. After a power failure, published files can be damaged. [`verify`](crate::verify()) detects
    /// the damage.
    None,
    /// Each file is synced (`fsync`) before it is renamed, and its folder afterwards.
    #[default]
    File,
    /// Files that are complete at the same time are synced together (`syncfs` on Linux) before they are renamed. The
    /// call also syncs everything else on their file system. This is faster for many small files on a separate disk.
    /// After a power failure, the last files may not have their final name yet. Where `syncfs` is unavailable or fails,
    /// files are synced as with [`File`](Self::File).
    Batch,
}

/// The `syncfs` calls that several downloads share.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    /// The number of `syncfs` calls that were started.
    started_calls: AtomicU64,
    /// For each device, the number of its last successful call. Locked during a call.
    last_successful_calls: Mutex<HashMap<u64, u64>>,
}

impl Batches {
    /// Waits until everything that was written to the file system of `folder` before this call is durable. Returns
    /// false if `syncfs` is unavailable or failed. The caller must then sync its file, because the error may belong to
    /// any file and is reported only once.
    pub(crate) async fn sync(&self, folder: &Path) -> io::Result<bool> {
        let earlier_calls = self.started_calls.load(Ordering::SeqCst);
        let path = folder.to_owned();
        let device = blocking(move || device(&path)).await?;
        // Callers that arrive during a call share the next call.
        let mut last_calls = self.last_successful_calls.lock().await;
        if last_calls.get(&device).is_some_and(|call| *call > earlier_calls) {
            return Ok(true);
        }
        let call = self.started_calls.fetch_add(1, Ordering::SeqCst) + 1;
        let path = folder.to_owned();
        let is_synced = blocking(move || Ok(folder::sync_file_system(&path).unwrap_or(false))).await?;
        if is_synced {
            last_calls.insert(device, call);
        }
        Ok(is_synced)
    }
}

#[cfg_attr(windows, expect(clippy::unnecessary_wraps, reason = "folders have devices only on Unix"))]
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
    async fn concurrent_syncs_share_one_call() {
        let (batches, folder) = (Batches::default(), tempfile::tempdir().unwrap());
        // The first caller makes a call, and the others share at most one more call.
        let guard = batches.last_successful_calls.lock().await;
        let mut syncs = Box::pin(join_all((0..50).map(|_| batches.sync(folder.path()))));
        assert!(futures_util::poll!(&mut syncs).is_pending());
        drop(guard);
        assert!(syncs.await.into_iter().all(Result::unwrap));
        let calls = batches.started_calls.load(Ordering::SeqCst);
        assert!((1..=2).contains(&calls), "{calls} calls");
        assert!(batches.sync(folder.path()).await.unwrap());
        assert_eq!(batches.started_calls.load(Ordering::SeqCst), calls + 1, "a later sync makes a new call");
    }
}
