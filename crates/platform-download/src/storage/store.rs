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
use incoming::IncomingFile;
use parts::{PartTransfer, Transfer, TransferEnd, Uploads};

pub use address::{StoreAddress, StoreAddressError};
pub use error::StoreError;
pub use lease::StoreLease;
pub(crate) use objects::{StorageProperties, StoredObject, StoredObjects};
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
    kind: StoreKind,
    retry: RetryPolicy,
    rate_limit: Option<RateLimit>,
}

/// The kind of a store. It determines how a stored object is verified.
#[derive(Clone)]
enum StoreKind {
    /// A folder. The content of an object is read.
    Folder,
    /// A bucket with signed URLs. The storage returns the checksum of an object.
    Bucket(Box<Bucket>),
    /// A cloud store with its own credentials. The metadata of an object contain its checksum.
    Cloud,
}

/// The name of the metadata entry with the CRC32C of an object. Azure permits only letters and digits.
const CHECKSUM_METADATA: &str = "aignosticscrc32c";

/// The maximum number of recorded uploads of a file. If the store discards all of them, the file is stored without a
/// journal.
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
        let name = folder.display().to_string();
        let folder_error = |source| Kind::Store { is_transient: false }.with(source).with_key(&name);
        std::fs::create_dir_all(folder).map_err(|error| folder_error(error.into()))?;
        let inner = LocalFileSystem::new_with_prefix(folder).map_err(|error| folder_error(error.into()))?;
        Ok(Self::new(Arc::new(inner.with_fsync(true)), StoreKind::Folder, for_transfers()))
    }

    fn new(inner: Arc<dyn ObjectStore>, kind: StoreKind, retry: RetryPolicy) -> Self {
        Self { inner, uploads: None, kind, retry, rate_limit: None }
    }

    /// Sets the interface for multipart uploads, which another process can continue, and the name of the store in
    /// journals.
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
        let store = Self::new(inner.clone(), StoreKind::Bucket(Box::new(bucket)), retry);
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
        let path = path_of_key(key)?;
        let mut attempts = Attempts::begin(http, &self.retry);
        let outcome = loop {
            if let Err(exhausted) = attempts.wait_until_ready().await {
                break Err(StoreError::unavailable(exhausted));
            }
            let url = SharedUrl::new(source);
            let outcome = self.fetch_once(&path, Transfer { http, url: &url, expected, received });
            let outcome = Box::pin(outcome).await;
            if let Break(outcome) = attempts.evaluate(outcome) {
                break outcome;
            }
        };
        outcome.map_err(|error| error.with_key(key))
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
            let may_record = starts <= MAX_STARTS;
            let part_transfer = if may_record { PartTransfer::open(self, path, transfer).await? } else { None };
            let end = match part_transfer {
                Some(transfer) => transfer.run().await?,
                None => TransferEnd::Unranged,
            };
            let (bytes, crc32c) = match (end, expected.bytes().zip(expected.crc32c())) {
                // The object may have been completed, and the response lost.
                (TransferEnd::Discarded, _) => continue,
                (TransferEnd::Stored, Some(bytes_and_checksum)) => bytes_and_checksum,
                _ => {
                    let mut incoming = IncomingFile::new(http, url, expected, received, self.retry);
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
        // Without an expected checksum, an object cannot be verified.
        let Some(expected_crc32c) = expected.crc32c() else { return Ok(None) };
        let has_expected_length = |bytes: u64| expected.bytes().is_none_or(|expected| expected == bytes);
        if let StoreKind::Bucket(bucket) = &self.kind {
            let state = match bucket.state(path.as_ref()).await {
                // The key may permit writing, but not reading.
                Err(error) if error.is_denied() => None,
                state => {
                    state.map_err(|error| Kind::Store { is_transient: error.is_transient() }.with(error.into()))?
                }
            };
            let state = state.filter(|state| state.crc32c == Some(expected_crc32c));
            return Ok(state.and_then(|state| state.bytes).filter(|&bytes| has_expected_length(bytes)));
        }
        if let StoreKind::Cloud = self.kind {
            let state = self.existing_properties(path).await?.filter(|(_, crc32c)| *crc32c == Some(expected_crc32c));
            return Ok(state.map(|(bytes, _)| bytes).filter(|&bytes| has_expected_length(bytes)));
        }
        let object = match self.inner.get(path).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            object => object.map_err(StoreError::store)?,
        };
        let bytes = object.meta.size;
        if !has_expected_length(bytes) {
            return Ok(None);
        }
        let append = async |crc: Crc32c, chunk: Bytes| Ok(crc.append(&chunk));
        let crc32c = object.into_stream().try_fold(Crc32c::default(), append).await.map_err(StoreError::store)?;
        Ok((crc32c == expected_crc32c).then_some(bytes))
    }

    /// Returns the length of an object in a cloud store and the checksum in its metadata, or `None` if the object does
    /// not exist or cannot be read.
    async fn existing_properties(&self, path: &Path) -> Result<Option<(u64, Option<Crc32c>)>, StoreError> {
        match self.properties(path).await {
            // The credentials may permit writing, but not reading.
            Err(object_store::Error::NotFound { .. } | object_store::Error::PermissionDenied { .. }) => Ok(None),
            properties => properties.map(Some).map_err(StoreError::store),
        }
    }

    async fn properties(&self, path: &Path) -> object_store::Result<(u64, Option<Crc32c>)> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let object = self.inner.get_opts(path, options).await?;
        let crc32c = object.attributes.get(&Attribute::Metadata(CHECKSUM_METADATA.into()));
        Ok((object.meta.size, crc32c.and_then(|text| text.parse().ok())))
    }

    /// Returns the metadata with the checksum of an object. Only cloud stores need them.
    fn attributes(&self, crc32c: Option<Crc32c>) -> Attributes {
        let crc32c = crc32c.filter(|_| matches!(self.kind, StoreKind::Cloud));
        let attribute =
            |crc32c: Crc32c| (Attribute::Metadata(CHECKSUM_METADATA.into()), AttributeValue::from(crc32c.to_string()));
        crc32c.into_iter().map(attribute).collect()
    }

    async fn store(&self, path: &Path, incoming: &mut IncomingFile<'_>) -> Result<(), StoreError> {
        let first_part = incoming.next_part().await?;
        if incoming.is_at_end() {
            incoming.verify()?;
            let options = PutOptions { attributes: self.attributes(Some(incoming.crc32c())), ..PutOptions::default() };
            self.inner.put_opts(path, first_part.into(), options).await.map_err(StoreError::store)?;
            return Ok(());
        }
        // `store_parts` verifies the content before the upload is completed, so that the object has this checksum.
        let attributes = self.attributes(incoming.expected_crc32c());
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let mut upload = self.inner.put_multipart_opts(path, options).await.map_err(StoreError::store)?;
        let outcome = match store_parts(&mut *upload, first_part, incoming).await {
            Ok(()) => upload.complete().await.map(drop).map_err(StoreError::store),
            error => error,
        };
        if outcome.is_err() {
            // An upload that cannot be aborted does not appear as an object.
            let _ = upload.abort().await;
        }
        outcome
    }

    /// Checks that the store still has the stored object. A cloud store returns the checksum from the metadata of the
    /// object, so that this check detects a replaced object, but not corrupted content.
    async fn confirm(&self, path: &Path, (expected_bytes, expected_crc32c): (u64, Crc32c)) -> Result<(), StoreError> {
        let (bytes, crc32c) = match &self.kind {
            StoreKind::Folder => return Ok(()),
            StoreKind::Cloud => match self.properties(path).await {
                // The credentials may permit writing, but not reading.
                Err(object_store::Error::PermissionDenied { .. }) => return Ok(()),
                Err(object_store::Error::NotFound { .. }) => return Err(Kind::Overwritten.into()),
                Err(error) => return Err(StoreError::store(error)),
                Ok((bytes, crc32c)) => (Some(bytes), crc32c),
            },
            StoreKind::Bucket(bucket) => match bucket.state(path.as_ref()).await {
                Err(error) if error.is_denied() => return Ok(()),
                Err(error) => return Err(Kind::Store { is_transient: error.is_transient() }.with(error.into())),
                Ok(None) => return Err(Kind::Overwritten.into()),
                Ok(Some(state)) => (state.bytes, state.crc32c),
            },
        };
        // A different object is not deleted, because another process may have stored it.
        let is_correct =
            bytes.is_none_or(|bytes| bytes == expected_bytes) && crc32c.is_none_or(|crc32c| crc32c == expected_crc32c);
        if is_correct { Ok(()) } else { Err(Kind::Overwritten.into()) }
    }
}

/// Stores the content in parts. The last part is stored only if the whole content is correct.
async fn store_parts(
    upload: &mut dyn MultipartUpload,
    first_part: Bytes,
    incoming: &mut IncomingFile<'_>,
) -> Result<(), StoreError> {
    let mut part = first_part;
    while !incoming.is_at_end() {
        let request = upload.put_part(part.into());
        let request = async { request.await.map_err(StoreError::store) };
        ((), part) = try_join(request, incoming.next_part()).await?;
    }
    incoming.verify()?;
    if !part.is_empty() {
        upload.put_part(part.into()).await.map_err(StoreError::store)?;
    }
    Ok(())
}

/// Validates a key, and returns it as a path of `object_store`.
fn path_of_key(key: &str) -> Result<Path, StoreError> {
    ObjectAddress::new("gs", "any", key).map_err(|error| Kind::Key.with(error.into()).with_key(key))?;
    // `object_store` would remove empty segments and store the object under another key.
    if key.split('/').any(str::is_empty) {
        return Err(StoreError::from(Kind::Key).with_key(key));
    }
    Path::parse(key).map_err(|error| Kind::Key.with(error.into()).with_key(key))
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Store({})", self.inner)
    }
}
