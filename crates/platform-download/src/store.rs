//! Files that go from their signed URL into an object store: complete and verified, or not there at all.
//!
//! - **Nothing is visible before it is complete**: a small file is stored by one request; a large one in parts, which
//!   become an object when all of them are there and have the checksum that was stated, and are given up otherwise.
//! - **Only two parts are in memory**: one that is stored while the next is fetched.
//! - **The connection breaks**: the rest is asked for, if the storage shows that it is still the same object; otherwise
//!   all of it.

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

/// A place for objects: a bucket, or a folder. Cheap to clone.
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
/// println!("{} bytes{}", stored.bytes, if stored.was_there { ", as before" } else { "" });
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    /// None for a folder.
    bucket: Option<Bucket>,
    retry: RetryPolicy,
}

/// An object that is there as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// Its length.
    pub bytes: u64,
    /// It was there before, and nothing was fetched.
    pub was_there: bool,
}

impl Store {
    /// A folder, which is created if need be. What is stored is synchronised to the disk.
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

    /// A bucket. Its parts are sent with their checksums. Whoever is killed or drops a [`fetch`](Self::fetch) leaves
    /// parts behind that nobody sees; a lifecycle rule of the bucket (`AbortIncompleteMultipartUpload`) deletes them.
    ///
    /// # Errors
    ///
    /// The bucket cannot be spoken to.
    pub fn bucket(bucket: Bucket) -> Result<Self, StoreError> {
        let inner = connector::connect(&bucket).map_err(|error| Kind::Store { passes: false }.with(error.into()))?;
        let retry = *bucket.retry();
        Ok(Self { inner: Arc::new(inner), bucket: Some(bucket), retry })
    }

    /// Sets how long transient failures are retried: 30 minutes by default.
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Fetches a file through `http`, which must not decompress, and stores it as `key`, unless it is there already.
    /// `received` hears of every piece that comes, with its length in bytes; some may come twice.
    ///
    /// # Errors
    ///
    /// [`StoreError::is_corrupt`], or the file could not be fetched or stored. Whatever was under `key` before is still
    /// there then.
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
                    return Ok(Stored { bytes, was_there: true });
                }
                let mut incoming = Incoming::new(http, source, expected, received, self.retry);
                self.store(&path, &mut incoming).await?;
                self.confirm(&path, incoming.crc32c()).await?;
                Ok(Stored { bytes: incoming.received(), was_there: false })
            };
            let outcome: Result<_, StoreError> = Box::pin(outcome).await;
            if let Break(outcome) = attempts.judge(outcome) {
                break outcome;
            }
        };
        outcome.map_err(|error| error.about(key))
    }

    /// The length of what is there, if it is as it must be.
    async fn has(&self, path: &Path, expected: Expected) -> Result<Option<u64>, StoreError> {
        // Without a checksum, nobody can tell.
        let Some(wanted) = expected.crc32c() else { return Ok(None) };
        let fits = |bytes: u64| expected.bytes().is_none_or(|expected| expected == bytes);
        if let Some(bucket) = &self.bucket {
            let state = match bucket.state(path.as_ref()).await {
                // Whoever may write may not be allowed to look.
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
            // What cannot be given up is not seen by anybody either.
            let _ = upload.abort().await;
        }
        outcome
    }

    /// Whether the bucket has what was stored.
    async fn confirm(&self, path: &Path, stored: Crc32c) -> Result<(), StoreError> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        match bucket.state(path.as_ref()).await {
            // Perhaps it is somebody else's by now, so that it is not deleted.
            Ok(Some(state)) if state.crc32c.is_some_and(|actual| actual != stored) => Err(Kind::Other.into()),
            Err(error) if error.is_denied() => Ok(()),
            state => state.map(drop).map_err(|error| Kind::Store { passes: error.is_transient() }.with(error.into())),
        }
    }
}

/// Stores what comes, part by part, and the last only if all of it is as it must be.
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

/// A key that is one of an object, whatever the store.
fn path(key: &str) -> Result<Path, StoreError> {
    ObjectAddress::new("gs", "any", key).map_err(|error| Kind::Key.with(error.into()).about(key))?;
    Path::parse(key).map_err(|error| Kind::Key.with(error.into()).about(key))
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Store({})", self.inner)
    }
}
