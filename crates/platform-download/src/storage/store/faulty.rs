//! A store in memory whose requests can fail, for tests.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

#[derive(Debug, Default)]
pub(super) struct FaultyStore {
    inner: InMemory,
    is_hanging: AtomicBool,
    is_unconditional: AtomicBool,
    conflicts: AtomicU32,
    lost: AtomicU32,
}

impl FaultyStore {
    /// Sets whether the store responds to requests for storing.
    pub(super) fn hang(&self, is_hanging: bool) {
        self.is_hanging.store(is_hanging, Ordering::Relaxed);
    }

    /// Lets the store ignore the conditions of requests.
    pub(super) fn ignore_conditions(&self) {
        self.is_unconditional.store(true, Ordering::Relaxed);
    }

    /// Loses the responses to further requests for storing, which have their effect.
    pub(super) fn lose(&self, times: u32) {
        self.lost.store(times, Ordering::Relaxed);
    }

    /// Lets further requests for storing fail, as if another process had changed the object.
    pub(super) fn conflict(&self, times: u32) {
        self.conflicts.store(times, Ordering::Relaxed);
    }
}

/// Counts down to zero. Returns true if it was not reached before.
fn take(count: &AtomicU32) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1)).is_ok()
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FaultyStore")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, path: &Path, content: PutPayload, options: PutOptions) -> Result<PutResult> {
        if self.is_hanging.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if take(&self.conflicts) {
            return Err(Error::Precondition { path: path.to_string(), source: "a conflict".into() });
        }
        let mode =
            if self.is_unconditional.load(Ordering::Relaxed) { PutMode::Overwrite } else { options.mode.clone() };
        let options = PutOptions { mode, ..options };
        let stored = self.inner.put_opts(path, content, options).await;
        if take(&self.lost) {
            let error = HttpError::new(HttpErrorKind::Timeout, std::io::Error::other("no response"));
            return Err(Error::Generic { store: "FaultyStore", source: error.into() });
        }
        stored
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
