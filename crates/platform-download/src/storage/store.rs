//! Verified transfers of files from signed URLs into a bucket or a folder, without a temporary local copy.
//!
//! - **Objects appear only when complete**: a small file is stored by one request. A large file is stored as a
//!   multipart upload, which is completed if the content has the expected checksum, and aborted otherwise.
//! - **At most two parts are in memory**: one is stored while the next is downloaded.
//! - **Interrupted downloads resume** if the validators of the response show that the object is unchanged. Otherwise
//!   they restart. With a [folder for journals](Store::with_journal), another process continues them.

mod address;
#[cfg(feature = "store-azure")]
mod azure;
#[cfg(feature = "store-azure")]
mod blob_account;
mod cloud;
#[cfg(any(feature = "store-s3", feature = "store-gcs", feature = "store-azure"))]
mod connection;
mod connector;
mod error;
#[cfg(test)]
mod faulty;
mod incoming;
mod lease;
mod objects;
mod parts;
#[cfg(feature = "store-s3")]
mod s3;
mod small;

use std::fmt;
use std::ops::ControlFlow::Break;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use auth_http::HttpClient;
use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::try_join;
use object_store::local::LocalFileSystem;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    Attribute, AttributeValue, Attributes, GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions,
};

use crate::retry::{Attempts, RetryPolicy, Retryable, for_transfers};
use crate::transfer::source::SharedUrl;
use crate::{Bucket, Crc32c, Expected, ObjectAddress, Outcome, RateLimit, Source, Verification};
use error::Kind;
use incoming::Incoming;
use parts::{PartTransfer, Transfer, TransferEnd, Uploads};

pub use address::{StoreAddress, StoreAddressError};
pub use error::StoreError;
pub use lease::StoreLease;
pub(crate) use objects::{StatedProperties, StoredObject, StoredObjects};
pub use small::StoredContent;

/// A destination of transfers: a bucket or a folder. Clones are cheap.
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
    uploads: Option<Arc<Uploads>>,
    place: Place,
    retry: RetryPolicy,
    rate_limit: Option<RateLimit>,
}

/// The kinds of stores, by the way in which an object is verified.
#[derive(Clone)]
enum Place {
    /// A folder: objects are read.
    Folder,
    /// A bucket with signed URLs: it states checksums.
    Bucket(Box<Bucket>),
    /// A store of a cloud: its objects have their checksum as metadata.
    Cloud,
}

/// The name of the metadata of an object with its CRC32C. Azure permits letters and digits only.
const CHECKSUM: &str = "aignosticscrc32c";

/// The maximum number of uploads of a file that are recorded, if the store discards them.
const MAX_STARTS: usize = 3;

/// The result of a transfer: the store has an object with the expected length and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The length of the object, in bytes.
    pub bytes: u64,
    /// The checksum of the object.
    pub crc32c: Crc32c,
    /// True if the object existed already and nothing was downloaded.
    pub already_present: bool,
}

impl Stored {
    /// Returns the outcome of the download of a file with these expected properties.
    pub fn outcome(self, expected: Expected) -> Outcome {
        let is_declared = expected.crc32c().is_some();
        Outcome {
            bytes: self.bytes,
            crc32c: self.crc32c,
            sha256: None,
            verification: if is_declared { Verification::Declared } else { Verification::Unverified },
            already_present: self.already_present,
            etag: None,
            generation: None,
        }
    }
}

impl Store {
    /// Creates a store in a folder, and creates the folder if it does not exist. Objects are synced to disk.
    ///
    /// # Errors
    ///
    /// The folder cannot be created or used.
    pub fn local(folder: impl AsRef<FilePath>) -> Result<Self, StoreError> {
        let folder = folder.as_ref();
        let unusable = |source| Kind::Store { is_transient: false }.with(source).about(&folder.display().to_string());
        std::fs::create_dir_all(folder).map_err(|error| unusable(error.into()))?;
        let inner = LocalFileSystem::new_with_prefix(folder).map_err(|error| unusable(error.into()))?.with_fsync(true);
        Ok(Self::of(Arc::new(inner), Place::Folder, for_transfers()))
    }

    fn of(inner: Arc<dyn ObjectStore>, place: Place, retry: RetryPolicy) -> Self {
        Self { inner, uploads: None, place, retry, rate_limit: None }
    }

    /// Sets the interface for uploads that another process can continue, and the name of the store in journals.
    fn with_uploads(self, store: Arc<dyn MultipartStore>, name: String) -> Self {
        Self { uploads: Some(Arc::new(Uploads { store, name, journals: None })), ..self }
    }

    /// Creates a store in a bucket. Parts are sent with their checksums. A killed or dropped [`fetch`](Self::fetch) can
    /// leave parts without an object. A lifecycle rule of the bucket (`AbortIncompleteMultipartUpload`) should delete
    /// them.
    ///
    /// # Errors
    ///
    /// The client of the bucket cannot be configured.
    pub fn bucket(bucket: Bucket) -> Result<Self, StoreError> {
        let inner =
            connector::connect(&bucket).map_err(|error| Kind::Store { is_transient: false }.with(error.into()))?;
        let (inner, retry, name) = (Arc::new(inner), *bucket.retry(), bucket.root());
        let store = Self::of(inner.clone(), Place::Bucket(Box::new(bucket)), retry);
        Ok(store.with_uploads(inner, name.trim_end_matches('/').to_owned()))
    }

    /// Sets the policy for retries of transient failures. The default is the policy of the bucket; for a folder, a
    /// transfer is retried for up to 30 minutes of uninterrupted failure.
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Sets a folder for the journals of large files. With a journal, another process on this machine continues an
    /// interrupted transfer after the parts that the store has. It is used for files whose checksum and length are
    /// expected, in a bucket. Journals of more than 30 days are removed.
    pub fn with_journal(mut self, folder: impl Into<PathBuf>) -> Self {
        if let Some(uploads) = &mut self.uploads {
            Arc::make_mut(uploads).journals = Some(folder.into());
        }
        self
    }

    /// Sets a limit for the sum of the rates of all downloads into the store. It can be shared with other transfers.
    pub fn with_rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limit = Some(limit);
        self
    }

    /// Downloads a file with `http` and stores it as `key`, unless the store has a correct object under this key.
    /// `http` must not decompress responses. `received` is called with the length of each received chunk, in bytes. The
    /// sum can exceed the length of the file, because content may be downloaded again.
    ///
    /// # Errors
    ///
    /// [`StoreError::is_corrupt`]: the content does not have the expected length or checksum. [`StoreError::is_store`]:
    /// the file cannot be stored under this key. Otherwise the file cannot be downloaded.
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
            if let Err(exhausted) = attempts.ready().await {
                break Err(StoreError::unavailable(exhausted));
            }
            let url = SharedUrl::new(source);
            let outcome = self.fetch_once(&path, Transfer { http, url: &url, expected, received });
            let outcome = Box::pin(outcome).await;
            if let Break(outcome) = attempts.evaluate(outcome) {
                break outcome;
            }
        };
        outcome.map_err(|error| error.about(key))
    }

    async fn fetch_once(&self, path: &Path, transfer: Transfer<'_>) -> Result<Stored, StoreError> {
        let Transfer { http, url, expected, received } = transfer;
        let mut starts = 0;
        loop {
            if let Some(bytes) = self.existing_length(path, expected).await? {
                if let Some(uploads) = &self.uploads {
                    uploads.forget(path, expected).await?;
                }
                return Ok(Stored { bytes, crc32c: expected.crc32c().unwrap_or_default(), already_present: true });
            }
            starts += 1;
            let in_parts = if starts > MAX_STARTS { None } else { PartTransfer::open(self, path, transfer).await? };
            let end = match in_parts {
                Some(transfer) => transfer.run().await?,
                None => TransferEnd::Unranged,
            };
            let (bytes, crc32c) = match (end, expected.bytes().zip(expected.crc32c())) {
                // The object may have been completed, and the response lost.
                (TransferEnd::Discarded, _) => continue,
                (TransferEnd::Stored, Some(stated)) => stated,
                _ => {
                    let mut incoming = Incoming::new(http, url, expected, received, self.retry);
                    incoming.rate_limit.clone_from(&self.rate_limit);
                    self.store(path, &mut incoming).await?;
                    (incoming.received(), incoming.crc32c())
                }
            };
            self.confirm(path, (bytes, crc32c)).await?;
            return Ok(Stored { bytes, crc32c, already_present: false });
        }
    }

    /// Returns the length of the existing object if it is correct.
    async fn existing_length(&self, path: &Path, expected: Expected) -> Result<Option<u64>, StoreError> {
        // Without an expected checksum, an object cannot be compared.
        let Some(wanted) = expected.crc32c() else { return Ok(None) };
        let has_expected_length = |bytes: u64| expected.bytes().is_none_or(|expected| expected == bytes);
        if let Place::Bucket(bucket) = &self.place {
            let state = match bucket.state(path.as_ref()).await {
                // The key may permit writing, but not reading.
                Err(error) if error.is_denied() => None,
                state => {
                    state.map_err(|error| Kind::Store { is_transient: error.is_transient() }.with(error.into()))?
                }
            };
            let state = state.filter(|state| state.crc32c == Some(wanted));
            return Ok(state.and_then(|state| state.bytes).filter(|&bytes| has_expected_length(bytes)));
        }
        if let Place::Cloud = self.place {
            let state = self.state(path).await?.filter(|(_, crc32c)| *crc32c == Some(wanted));
            return Ok(state.map(|(bytes, _)| bytes).filter(|&bytes| has_expected_length(bytes)));
        }
        let found = match self.inner.get(path).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(StoreError::store)?,
        };
        let bytes = found.meta.size;
        if !has_expected_length(bytes) {
            return Ok(None);
        }
        let append = async |crc: Crc32c, piece: Bytes| Ok(crc.append(&piece));
        let crc32c = found.into_stream().try_fold(Crc32c::default(), append).await.map_err(StoreError::store)?;
        Ok((crc32c == wanted).then_some(bytes))
    }

    /// Returns the length and the recorded checksum of an object in a store of a cloud, or `None` if it does not exist.
    async fn state(&self, path: &Path) -> Result<Option<(u64, Option<Crc32c>)>, StoreError> {
        match self.properties(path).await {
            // Write permission may exist without read permission.
            Err(object_store::Error::NotFound { .. } | object_store::Error::PermissionDenied { .. }) => Ok(None),
            found => found.map(Some).map_err(StoreError::store),
        }
    }

    async fn properties(&self, path: &Path) -> object_store::Result<(u64, Option<Crc32c>)> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let found = self.inner.get_opts(path, options).await?;
        let recorded = found.attributes.get(&Attribute::Metadata(CHECKSUM.into()));
        Ok((found.meta.size, recorded.and_then(|text| text.parse().ok())))
    }

    /// Returns the metadata of an object with this checksum.
    fn attributes(&self, crc32c: Option<Crc32c>) -> Attributes {
        let crc32c = crc32c.filter(|_| matches!(self.place, Place::Cloud));
        let attribute =
            |crc32c: Crc32c| (Attribute::Metadata(CHECKSUM.into()), AttributeValue::from(crc32c.to_string()));
        crc32c.into_iter().map(attribute).collect()
    }

    async fn store(&self, path: &Path, incoming: &mut Incoming<'_>) -> Result<(), StoreError> {
        let first = incoming.part().await?;
        if incoming.is_at_end() {
            incoming.verify()?;
            let options = PutOptions { attributes: self.attributes(Some(incoming.crc32c())), ..PutOptions::default() };
            self.inner.put_opts(path, first.into(), options).await.map_err(StoreError::store)?;
            return Ok(());
        }
        // The content has the stated checksum before it becomes an object.
        let attributes = self.attributes(incoming.expected_crc32c());
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let mut upload = self.inner.put_multipart_opts(path, options).await.map_err(StoreError::store)?;
        let outcome = match parts(&mut *upload, first, incoming).await {
            Ok(()) => upload.complete().await.map(drop).map_err(StoreError::store),
            error => error,
        };
        if outcome.is_err() {
            // An upload that cannot be aborted does not appear as an object.
            let _ = upload.abort().await;
        }
        outcome
    }

    /// Checks that the store still has the stored object. In a store of a cloud, the checksum is the one that was stored with
    /// the object, so that this detects an object of another process, but no damage in the store.
    async fn confirm(&self, path: &Path, (bytes, stored): (u64, Crc32c)) -> Result<(), StoreError> {
        let (found, crc32c) = match &self.place {
            Place::Folder => return Ok(()),
            Place::Cloud => match self.properties(path).await {
                // The credentials may permit writing, but not reading.
                Err(object_store::Error::PermissionDenied { .. }) => return Ok(()),
                Err(object_store::Error::NotFound { .. }) => return Err(Kind::Overwritten.into()),
                Err(error) => return Err(StoreError::store(error)),
                Ok(found) => (Some(found.0), found.1),
            },
            Place::Bucket(bucket) => match bucket.state(path.as_ref()).await {
                Err(error) if error.is_denied() => return Ok(()),
                Err(error) => return Err(Kind::Store { is_transient: error.is_transient() }.with(error.into())),
                Ok(None) => return Err(Kind::Overwritten.into()),
                Ok(Some(state)) => (state.bytes, state.crc32c),
            },
        };
        // A wrong object is not deleted, because another process may have written it.
        let is_correct = found.is_none_or(|found| found == bytes) && crc32c.is_none_or(|crc32c| crc32c == stored);
        if is_correct { Ok(()) } else { Err(Kind::Overwritten.into()) }
    }
}

/// Stores the content in parts. The last part is stored only if the whole content is correct.
async fn parts(upload: &mut dyn MultipartUpload, first: Bytes, incoming: &mut Incoming<'_>) -> Result<(), StoreError> {
    let mut part = first;
    while !incoming.is_at_end() {
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
    // `object_store` would remove empty segments and store the object under another key.
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
