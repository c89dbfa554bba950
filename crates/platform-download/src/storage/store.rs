//! Transfers of files from signed URLs into an object store, complete and verified.
//!
//! - **Objects appear only when complete**: a small file is stored by one request; a large one in parts, which become
//!   an object when all of them are stored and have the stated checksum, and are aborted otherwise.
//! - **Memory is limited to two parts**: one is stored while the next is downloaded.
//! - **Interrupted downloads resume**, if the storage proves that the object is unchanged; otherwise they restart.

mod connector;
mod error;
mod incoming;

use std::fmt;
use std::ops::ControlFlow::Break;
use std::path::Path as FilePath;
use std::sync::Arc;

use auth_http::HttpClient;
use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::try_join;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};

use crate::retry::{Attempts, RetryPolicy, Retryable, for_transfers};
use crate::{Bucket, Crc32c, Expected, ObjectAddress, Source};
use error::Kind;
use incoming::Incoming;

pub use error::StoreError;

/// A destination for objects: a bucket or a folder. Clones are cheap.
///
/// ```no_run
/// use auth_http::HttpClient;
/// use platform_download::{Expected, Source, Store};
///
/// # async fn example(source: &dyn Source) -> Result<(), Box<dyn std::error::Error>> {
/// let store = Store::local("/mnt/results")?;
/// let http = HttpClient::builder().without_decompression().build()?;
/// let expected = Expected::new("yZRlqg==".parse()?).with_bytes(11);
/// let stored = store.fetch(&http, source, expected, "run-1/hello.txt", &|bytes| println!("+{bytes}")).await?;
/// println!("{} bytes{}", stored.bytes, if stored.already_present { ", as before" } else { "" });
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    /// `None` for a folder.
    bucket: Option<Bucket>,
    retry: RetryPolicy,
}

/// A correct object in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The length of the object, in bytes.
    pub bytes: u64,
    /// True if the object existed already, so that nothing was downloaded.
    pub already_present: bool,
}

impl Store {
    /// Creates a store in a folder, which is created if necessary. Objects are synced to disk.
    ///
    /// # Errors
    ///
    /// The folder cannot be created or used.
    pub fn local(folder: impl AsRef<FilePath>) -> Result<Self, StoreError> {
        let folder = folder.as_ref();
        let unusable = |source| Kind::Store { passes: false }.with(source).about(&folder.display().to_string());
        std::fs::create_dir_all(folder).map_err(|error| unusable(error.into()))?;
        let inner = LocalFileSystem::new_with_prefix(folder).map_err(|error| unusable(error.into()))?.with_fsync(true);
        Ok(Self { inner: Arc::new(inner), bucket: None, retry: for_transfers() })
    }

    /// Creates a store in a bucket. Parts are sent with their checksums. A killed or dropped [`fetch`](Self::fetch)
    /// leaves invisible parts, which a lifecycle rule of the bucket (`AbortIncompleteMultipartUpload`) deletes.
    ///
    /// # Errors
    ///
    /// The client of the bucket cannot be configured.
    pub fn bucket(bucket: Bucket) -> Result<Self, StoreError> {
        let inner = connector::connect(&bucket).map_err(|error| Kind::Store { passes: false }.with(error.into()))?;
        let retry = *bucket.retry();
        Ok(Self { inner: Arc::new(inner), bucket: Some(bucket), retry })
    }

    /// Sets the policy for retries of transient failures. The default is that of the bucket; for a folder, up to 30
    /// minutes of uninterrupted failure.
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Downloads a file through `http`, which must not decompress responses, and stores it as `key`, unless a correct
    /// object exists. `received` is called with the length of each received chunk, in bytes; a chunk may be received
    /// twice.
    ///
    /// # Errors
    ///
    /// [`StoreError::is_corrupt`]: the content does not have the expected length or checksum. Otherwise the file could
    /// not be downloaded or stored.
    pub async fn fetch(
        &self,
        http: &HttpClient,
        source: &dyn Source,
        expected: Expected,
        key: &str,
        received: &(dyn Fn(u64) + Sync),
    ) -> Result<Stored, StoreError> {
        let path = path(key)?;
        let mut attempts = Attempts::begin(http, &self.retry);
        let outcome = loop {
            if let Err(gave_up) = attempts.ready().await {
                break Err(StoreError::unavailable(gave_up));
            }
            let outcome = async {
                if let Some(bytes) = self.has(&path, expected).await? {
                    return Ok(Stored { bytes, already_present: true });
                }
                let mut incoming = Incoming::new(http, source, expected, received, self.retry);
                self.store(&path, &mut incoming).await?;
                self.confirm(&path, incoming.crc32c()).await?;
                Ok(Stored { bytes: incoming.received(), already_present: false })
            };
            let outcome: Result<_, StoreError> = Box::pin(outcome).await;
            if let Break(outcome) = attempts.judge(outcome) {
                break outcome;
            }
        };
        outcome.map_err(|error| error.about(key))
    }

    /// Returns the length of the existing object, if it is correct.
    async fn has(&self, path: &Path, expected: Expected) -> Result<Option<u64>, StoreError> {
        // Without a checksum, this cannot be determined.
        let Some(wanted) = expected.crc32c() else { return Ok(None) };
        let fits = |bytes: u64| expected.bytes().is_none_or(|expected| expected == bytes);
        if let Some(bucket) = &self.bucket {
            let state = match bucket.state(path.as_ref()).await {
                // Write permission may exist without read permission.
                Err(error) if error.is_denied() => None,
                state => state.map_err(|error| Kind::Store { passes: error.is_transient() }.with(error.into()))?,
            };
            let state = state.filter(|state| state.crc32c == Some(wanted));
            return Ok(state.and_then(|state| state.bytes).filter(|&bytes| fits(bytes)));
        }
        let found = match self.inner.get(path).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(StoreError::store)?,
        };
        let bytes = found.meta.size;
        if !fits(bytes) {
            return Ok(None);
        }
        let append = async |crc: Crc32c, piece: Bytes| Ok(crc.append(&piece));
        let crc32c = found.into_stream().try_fold(Crc32c::default(), append).await.map_err(StoreError::store)?;
        Ok((crc32c == wanted).then_some(bytes))
    }

    async fn store(&self, path: &Path, incoming: &mut Incoming<'_>) -> Result<(), StoreError> {
        let first = incoming.part().await?;
        if incoming.is_over() {
            incoming.verify()?;
            self.inner.put(path, first.into()).await.map_err(StoreError::store)?;
            return Ok(());
        }
        let mut upload = self.inner.put_multipart(path).await.map_err(StoreError::store)?;
        let outcome = match parts(&mut *upload, first, incoming).await {
            Ok(()) => upload.complete().await.map(drop).map_err(StoreError::store),
            error => error,
        };
        if outcome.is_err() {
            // Parts that cannot be aborted are invisible.
            let _ = upload.abort().await;
        }
        outcome
    }

    /// Checks that the bucket has the stored object.
    async fn confirm(&self, path: &Path, stored: Crc32c) -> Result<(), StoreError> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        match bucket.state(path.as_ref()).await {
            // Another process may have written it, so it is not deleted.
            Ok(Some(state)) if state.crc32c.is_some_and(|actual| actual != stored) => Err(Kind::Other.into()),
            Err(error) if error.is_denied() => Ok(()),
            state => state.map(drop).map_err(|error| Kind::Store { passes: error.is_transient() }.with(error.into())),
        }
    }
}

/// Stores the content in parts, and the last one only if all content is correct.
async fn parts(upload: &mut dyn MultipartUpload, first: Bytes, incoming: &mut Incoming<'_>) -> Result<(), StoreError> {
    let mut part = first;
    while !incoming.is_over() {
        let stored = upload.put_part(part.into());
        let stored = async { stored.await.map_err(StoreError::store) };
        ((), part) = try_join(stored, incoming.part()).await?;
    }
    incoming.verify()?;
    if !part.is_empty() {
        upload.put_part(part.into()).await.map_err(StoreError::store)?;
    }
    Ok(())
}

/// Validates a key and returns its path.
fn path(key: &str) -> Result<Path, StoreError> {
    ObjectAddress::new("gs", "any", key).map_err(|error| Kind::Key.with(error.into()).about(key))?;
    // `object_store` would store the object under another key.
    if key.split('/').any(str::is_empty) {
        return Err(StoreError::from(Kind::Key).about(key));
    }
    Path::parse(key).map_err(|error| Kind::Key.with(error.into()).about(key))
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Store({})", self.inner)
    }
}
