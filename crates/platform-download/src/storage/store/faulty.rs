//! A store in memory with fault injection, for tests.

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
    lost_responses: AtomicU32,
}

impl FaultyStore {
    /// Sets whether PUT requests hang.
    pub(super) fn set_hanging(&self, is_hanging: bool) {
        self.is_hanging.store(is_hanging, Ordering::Relaxed);
    }

    /// Makes the store ignore the conditions of PUT requests.
    pub(super) fn ignore_conditions(&self) {
        self.is_unconditional.store(true, Ordering::Relaxed);
    }

    /// Makes the next PUT requests fail with a timeout after they have stored the object.
    pub(super) fn lose_responses(&self, times: u32) {
        self.lost_responses.store(times, Ordering::Relaxed);
    }

    /// Makes the next PUT requests fail as if another process had changed the object.
    pub(super) fn inject_conflicts(&self, times: u32) {
        self.conflicts.store(times, Ordering::Relaxed);
    }
}

/// Decrements a counter. Returns false if it is already zero.
fn decrement(count: &AtomicU32) -> bool {
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
        if decrement(&self.conflicts) {
            return Err(Error::Precondition { path: path.to_string(), source: "a conflict".into() });
        }
        let mode =
            if self.is_unconditional.load(Ordering::Relaxed) { PutMode::Overwrite } else { options.mode.clone() };
        let options = PutOptions { mode, ..options };
        let outcome = self.inner.put_opts(path, content, options).await;
        if decrement(&self.lost_responses) {
            let error = HttpError::new(HttpErrorKind::Timeout, std::io::Error::other("no response"));
            return Err(Error::Generic { store: "FaultyStore", source: error.into() });
        }
        outcome
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
