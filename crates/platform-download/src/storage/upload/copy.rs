//! Verified copies of objects from another store into a bucket.
//!
//! Difficult cases:
//! - **The object exists.** It is skipped if it has the checksum that the source store returns. If this store returns
//!   none, the journal may contain the checksum of an earlier copy of a large object. Otherwise, the source is read to
//!   compute its checksum.
//! - **The source changes during the copy.** Each range is requested with the `ETag` from the list of objects, so that
//!   a changed source is an error.
//! - **The process ends.** Large objects continue after their confirmed parts, like uploads of files.

use std::collections::HashSet;
use std::fmt;
use std::ops::ControlFlow::Break;
use std::sync::Arc;

use auth_http::{Method, Request};
use futures_util::{StreamExt, stream};
use serde::{Serialize, Serializer};
use tokio::sync::Semaphore;

use super::error::Kind;
use super::local::blocking;
use super::part_source::PartSource;
use super::parts::{self, PartUpload};
use super::progress::{FileProgress, Observer, TotalProgress};
use super::remote::RemoteObject;
use super::{Upload, UploadError, UploadEvent, UploadFile, Uploaded, check_response, existing_checksum};
use crate::retry::Retryable;
use crate::storage::signer::UnsignedRequest;
use crate::storage::store::{StorageProperties, Store, StoreAddress, StoreError, StoredObject, StoredObjects};
use crate::{Bucket, Crc32c, ObjectAddress};

/// The default number of objects, and of parts of large ones, that are copied at the same time.
const DEFAULT_JOBS: usize = 8;
/// The maximum length of an object that is sent with one request, in bytes.
const MAX_WHOLE_BYTES: u64 = 8 << 20;

/// A copy of objects from another store into a bucket. At most one part for each job is in memory.
#[derive(Clone)]
pub struct BucketCopy {
    bucket: Bucket,
    store: Store,
    address: StoreAddress,
    jobs: usize,
    in_flight: Arc<Semaphore>,
    observer: Option<Arc<Observer>>,
}

/// An object to copy.
#[derive(Clone, Debug)]
pub struct CopyObject {
    file: UploadFile,
    object: StoredObject,
}

/// The objects at an address.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CopySource {
    /// The objects to copy, in the order of their keys.
    pub objects: Vec<CopyObject>,
    /// The addresses of empty objects whose keys end with a slash. They mark folders and are not copied.
    pub folders: Vec<String>,
}

impl CopySource {
    /// Returns a note about the objects that are not copied, or `None` if all objects are copied.
    pub fn skipped(&self) -> Option<String> {
        let count = self.folders.len();
        (count > 0).then(|| format!("{count} skipped: empty objects that stand for folders"))
    }
}

impl CopyObject {
    /// Returns the address of the object in its store.
    pub fn source(&self) -> String {
        self.file.path().display().to_string()
    }

    /// Returns the key in the bucket.
    pub fn key(&self) -> &str {
        self.file.key()
    }

    /// Returns the length, in bytes.
    pub fn bytes(&self) -> u64 {
        self.object.bytes()
    }
}

/// Serialized as `docs/schemas/bucket-copy-plan.json`.
impl Serialize for CopyObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct CopyObjectRecord<'a> {
            source: String,
            key: &'a str,
            bytes: u64,
        }
        CopyObjectRecord { source: self.source(), key: self.key(), bytes: self.bytes() }.serialize(serializer)
    }
}

impl BucketCopy {
    /// Creates a copy from `address`, whose `store` is open, to `bucket`, with its retry policy, limits and journal.
    pub fn new(bucket: Bucket, store: Store, address: StoreAddress) -> Self {
        let jobs = bucket.uploads().jobs.unwrap_or(DEFAULT_JOBS);
        Self { bucket, store, address, jobs, in_flight: Arc::new(Semaphore::new(jobs)), observer: None }
    }

    /// Sets a function that is called for each sent part and each copied object. It must not block.
    pub fn with_observer(mut self, observer: impl Fn(&UploadEvent<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Lists the objects below the address, or the object at the address itself. Their keys in the bucket begin with
    /// `prefix`.
    ///
    /// # Errors
    ///
    /// The store cannot be listed.
    pub async fn find(&self, prefix: &str) -> Result<CopySource, StoreError> {
        let StoredObjects { objects, folders } = self.store.objects(self.address.prefix()).await?;
        let root = self.address.prefix();
        let copy_object = |object: StoredObject| {
            let key = object.key();
            let relative_key = key.strip_prefix(root).map(|rest| rest.trim_start_matches('/'));
            let name = relative_key.filter(|rest| !rest.is_empty()).or(key.rsplit('/').next()).unwrap_or(key);
            let target = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            CopyObject { file: UploadFile::new(self.address.object(key), target), object }
        };
        let folders = folders.iter().map(|key| self.address.object(key)).collect();
        Ok(CopySource { objects: objects.into_iter().map(copy_object).collect(), folders })
    }

    /// Copies objects, and returns the results in their order. After an error, the other objects are still copied. If
    /// the future is dropped, a later call continues.
    pub async fn copy(&self, objects: impl IntoIterator<Item = CopyObject>) -> Vec<Upload> {
        let objects: Vec<_> = objects.into_iter().collect();
        let total = Arc::new(TotalProgress::new(objects.iter().map(CopyObject::bytes).sum()));
        let mut keys = HashSet::new();
        let objects: Vec<_> =
            objects.into_iter().map(|object| (keys.insert(object.key().to_owned()), object)).collect();
        let copies =
            objects.into_iter().enumerate().map(async |(position, (is_first, CopyObject { file, object }))| {
                let progress =
                    Arc::new(FileProgress::new(Arc::new(file.clone()), total.clone(), self.observer.clone()));
                let source =
                    RemoteObject { store: self.store.clone(), object, address: file.path().display().to_string() };
                let outcome = if is_first {
                    Box::pin(self.copy_one(&file, &source, &progress)).await
                } else {
                    Err(Kind::Duplicate.into())
                };
                progress.finish(outcome.as_ref().ok().map(|copied| copied.already_present));
                let result = outcome.map_err(|error| error.with_file(file.path(), file.key()));
                (position, Upload { file, result })
            });
        let mut copies: Vec<_> = stream::iter(copies).buffer_unordered(self.jobs).collect().await;
        copies.sort_unstable_by_key(|(position, _)| *position);
        copies.into_iter().map(|(_, copy)| copy).collect()
    }

    async fn copy_one(
        &self,
        file: &UploadFile,
        source: &RemoteObject,
        progress: &Arc<FileProgress>,
    ) -> Result<Uploaded, UploadError> {
        let target = self.bucket.address(file.key()).map_err(|error| Kind::Sign.with(error))?;
        let bytes = source.bytes();
        progress.start_attempt(bytes);
        let StorageProperties { crc32c: source_crc32c, content_type } = source.storage_properties().await?;
        if let Some(existing_crc32c) = existing_checksum(&self.bucket, file.key(), bytes).await?
            && self.is_same(source, &target, (source_crc32c, existing_crc32c)).await?
        {
            return Ok(Uploaded { bytes, crc32c: existing_crc32c, already_present: true });
        }
        let file = content_type.into_iter().fold(file.clone(), UploadFile::with_content_type);
        let file = source_crc32c.into_iter().fold(file, UploadFile::with_crc32c);
        let crc32c = if bytes <= MAX_WHOLE_BYTES {
            self.copy_whole(&file, source, &target).await?
        } else {
            let (bucket, in_flight) = (&self.bucket, &*self.in_flight);
            let upload = PartUpload { bucket, file: &file, object: &target, source, progress, in_flight };
            let Some(crc32c) = Box::pin(upload.run()).await? else {
                return Err(Kind::Multipart("the storage refuses multipart uploads", false).into());
            };
            if source_crc32c.is_none() {
                self.record_checksum(source, &target, crc32c).await?;
            }
            crc32c
        };
        Ok(Uploaded { bytes, crc32c, already_present: false })
    }

    /// Returns true if the source has the checksum of the existing object.
    async fn is_same(
        &self,
        source: &RemoteObject,
        target: &ObjectAddress,
        (source_crc32c, existing_crc32c): (Option<Crc32c>, Crc32c),
    ) -> Result<bool, UploadError> {
        if let Some(source_crc32c) = source_crc32c {
            if source_crc32c == existing_crc32c && source.bytes() > MAX_WHOLE_BYTES {
                parts::forget(&self.bucket, source, target).await?;
            }
            return Ok(source_crc32c == existing_crc32c);
        }
        let is_large = source.bytes() > MAX_WHOLE_BYTES;
        if is_large {
            let journal = parts::open_journal(&self.bucket, source, target).await?;
            if blocking(move || Ok(journal.finished_checksum())).await? == Some(existing_crc32c) {
                return Ok(true);
            }
        }
        // The semaphore is never closed.
        let _permit = self.in_flight.acquire().await;
        let is_same = source.checksum().await? == existing_crc32c;
        if is_same && is_large {
            self.record_checksum(source, target, existing_crc32c).await?;
        }
        Ok(is_same)
    }

    /// Records the checksum of a copied object, so that the next copy need not read its source again.
    async fn record_checksum(
        &self,
        source: &RemoteObject,
        target: &ObjectAddress,
        crc32c: Crc32c,
    ) -> Result<(), UploadError> {
        let mut journal = parts::open_journal(&self.bucket, source, target).await?;
        blocking(move || {
            journal.finish(crc32c);
            Ok(())
        })
        .await
    }

    /// Copies an object with one request.
    async fn copy_whole(
        &self,
        file: &UploadFile,
        source: &RemoteObject,
        target: &ObjectAddress,
    ) -> Result<Crc32c, UploadError> {
        // The semaphore is never closed.
        let _permit = self.in_flight.acquire().await;
        let content = source.read(0..source.bytes()).await?;
        let crc32c = Crc32c::of(&content);
        if file.crc32c().is_some_and(|expected| expected != crc32c) {
            return Err(Kind::Changed.into());
        }
        if let Some(limit) = &self.bucket.uploads().rate_limit {
            limit.wait(content.len() as u64).await;
        }
        let hash = format!("crc32c={crc32c}");
        let mut attempts = self.bucket.attempts();
        loop {
            attempts.wait_until_ready().await.map_err(UploadError::unavailable)?;
            let outcome = async {
                let headers = [("x-goog-hash", hash.as_str())];
                let unsigned = UnsignedRequest { headers: &headers, ..UnsignedRequest::of(Method::Put, target) };
                let url = self.bucket.signer().sign_put(&unsigned).map_err(|error| Kind::Sign.with(error))?;
                let request = Request::new(Method::Put, url.expose().clone());
                let request = request.with_body(file.content_type(), content.clone()).with_header("x-goog-hash", &hash);
                let response = self.bucket.http().send(request).await;
                let response = response.map_err(|error| Kind::Http(error.is_transient()).with(error))?;
                check_response(&self.bucket, response, file.key(), crc32c).await
            };
            if let Break(outcome) = attempts.evaluate(outcome.await) {
                return outcome.map(|()| crc32c);
            }
        }
    }
}

impl fmt::Debug for BucketCopy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, address, .. } = self;
        formatter.debug_struct("BucketCopy").field("bucket", bucket).field("from", address).finish_non_exhaustive()
    }
}

// Asserts that the future of a copy is `Send`.
const _: fn(&BucketCopy) = |copy| {
    fn is_send(_: impl Send) {}
    is_send(copy.copy(Vec::new()));
};
