//! Buckets: addresses, listing, search and deletion of objects. All requests use signed URLs and no other credentials.

mod delete;
mod download;
mod error;
mod list;
mod multipart;
mod object_reader;
mod response;
mod select;
mod xml;

use std::collections::BTreeSet;
use std::ops::ControlFlow::Break;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use auth_http::{HttpClient, Method, Request, Response, SignedUrl};

use crate::retry::{Attempts, RetryPolicy, Retryable, for_transfers};
use crate::storage::signer::UnsignedRequest;
use crate::{Crc32c, ObjectAddress, RateLimit, SignError, UrlSigner};

pub use delete::{Deleted, Deletion};
pub use download::DownloadedObject;
pub use error::BucketError;
pub use list::ObjectEntry;
pub use multipart::UnfinishedUpload;
pub use object_reader::ObjectReader;
pub(crate) use response::{ErrorResponse, storage_checksum};
pub use select::SelectedObjects;
use xml::Document;

/// The lifetime of the URLs that this crate signs for immediate use.
const REQUEST_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The maximum size of a response, in bytes. A page contains up to 1000 keys of 1024 bytes, which URL encoding may
/// triple, and their properties.
const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

/// A bucket of Google Cloud Storage or of a compatible storage. Clones are cheap.
///
/// ```no_run
/// use auth_http::HttpClient;
/// use futures_util::TryStreamExt;
/// use platform_download::{Bucket, UrlSigner};
///
/// # async fn example(signer: UrlSigner) -> Result<(), Box<dyn std::error::Error>> {
/// let http = HttpClient::builder().without_decompression().build()?;
/// let bucket = Bucket::new(http, signer, "slides");
/// // Collect the keys first, so that the user can confirm the deletion.
/// let entries: Vec<_> = bucket.find("run-1/**/*.tmp")?.try_collect().await?;
/// for deletion in bucket.delete(entries.into_iter().map(|entry| entry.key)).await {
///     println!("{}: {:?}", deletion.key, deletion.result);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Bucket {
    http: HttpClient,
    signer: UrlSigner,
    name: String,
    protocol: String,
    retry: RetryPolicy,
    upload_journal: Option<PathBuf>,
    uploads: UploadLimits,
}

/// The limits of uploads. `None` selects the default.
#[derive(Clone, Debug, Default)]
pub(crate) struct UploadLimits {
    /// The number of concurrent requests.
    pub(crate) jobs: Option<usize>,
    /// The minimum size of a part.
    pub(crate) part_bytes: Option<u64>,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) read_timeout: Option<Duration>,
}

/// Returns the endpoints and names of the buckets that refuse multipart uploads. The set lasts until the process ends.
fn buckets_without_multipart() -> MutexGuard<'static, BTreeSet<(String, String)>> {
    static BUCKETS: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());
    BUCKETS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The properties of an object in the headers of a response.
#[derive(Clone, Debug, Default)]
pub(crate) struct ObjectHeaders {
    pub(crate) crc32c: Option<Crc32c>,
    pub(crate) generation: Option<String>,
}

/// The properties of an object, from a HEAD request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObjectState {
    pub(crate) bytes: Option<u64>,
    pub(crate) crc32c: Option<Crc32c>,
}

impl Bucket {
    /// Creates a handle to the bucket `name`, without sending a request. `http` must not decompress responses, because
    /// checksums are those of the stored bytes.
    pub fn new(http: HttpClient, signer: UrlSigner, name: impl Into<String>) -> Self {
        Self {
            http,
            signer,
            name: name.into(),
            protocol: "gs".to_owned(),
            retry: for_transfers(),
            upload_journal: None,
            uploads: UploadLimits::default(),
        }
    }

    /// Sets the protocol in object addresses. The default is `gs`.
    pub fn with_protocol(mut self, protocol: impl Into<String>) -> Self {
        self.protocol = protocol.into();
        self
    }

    /// Sets the policy for retries of transient failures. By default, a request is retried for up to 30 minutes of
    /// uninterrupted failure.
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Sets a folder for the journals of multipart uploads. With a journal, another process can resume an interrupted
    /// [upload](crate::Uploader). Only the current user can read the folder.
    pub fn with_upload_journal(mut self, folder: impl Into<PathBuf>) -> Self {
        self.upload_journal = Some(folder.into());
        self
    }

    /// Sets the maximum number of files, and of parts of large files, that an [`Uploader`](crate::Uploader) sends at a
    /// time. The minimum is 1. The default is 4 files and 12 parts.
    pub fn with_upload_jobs(mut self, jobs: usize) -> Self {
        self.uploads.jobs = Some(jobs.max(1));
        self
    }

    /// Sets the size of the parts of multipart uploads, in bytes. The default and minimum is 8 MiB. An interrupted
    /// upload with another part size is not resumed.
    pub fn with_upload_part_size(mut self, bytes: u64) -> Self {
        self.uploads.part_bytes = Some(bytes);
        self
    }

    /// Sets a limit for the total rate of all uploads. The limit can be shared with downloads.
    pub fn with_rate_limit(mut self, limit: RateLimit) -> Self {
        self.uploads.rate_limit = Some(limit);
        self
    }

    /// Sets the maximum time for which a request of an upload may neither send bytes nor receive a response. The
    /// default is the read timeout of the HTTP client. Increase it for proxies that store the content before they
    /// forward it.
    pub fn with_upload_read_timeout(mut self, timeout: Duration) -> Self {
        self.uploads.read_timeout = Some(timeout);
        self
    }

    pub(crate) fn uploads(&self) -> &UploadLimits {
        &self.uploads
    }

    /// Returns the name of the bucket.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the prefix of object addresses: `gs://bucket/`.
    pub fn root(&self) -> String {
        self.display_address("")
    }

    /// Returns the signer of the bucket's URLs.
    pub fn signer(&self) -> &UrlSigner {
        &self.signer
    }

    /// Returns the address of an object: `gs://bucket/key`.
    ///
    /// # Errors
    ///
    /// [`SignError::is_address`]: the key is empty or has a segment `.` or `..`.
    pub fn address(&self, key: &str) -> Result<ObjectAddress, SignError> {
        ObjectAddress::new(&self.protocol, &self.name, key)
    }

    /// Returns a signed URL to PUT the object `key`, valid for `lifetime` (60 s to 7 days), or for the default of the
    /// [signer](UrlSigner::with_put_lifetime) if it is `None`.
    ///
    /// # Errors
    ///
    /// [`SignError::is_lifetime`]: the lifetime is out of range. [`SignError::is_address`]: the key is empty or has a
    /// segment `.` or `..`.
    pub fn put_url(&self, key: &str, lifetime: impl Into<Option<Duration>>) -> Result<SignedUrl, SignError> {
        self.signer.put_url(&self.address(key)?, lifetime)
    }

    /// Returns a signed URL to GET the object `key`, valid for `lifetime` (60 s to 7 days), or for the default of the
    /// [signer](UrlSigner::with_get_lifetime) if it is `None`.
    ///
    /// # Errors
    ///
    /// [`SignError::is_lifetime`]: the lifetime is out of range. [`SignError::is_address`]: the key is empty or has a
    /// segment `.` or `..`.
    pub fn get_url(&self, key: &str, lifetime: impl Into<Option<Duration>>) -> Result<SignedUrl, SignError> {
        self.signer.get_url(&self.address(key)?, lifetime)
    }

    pub(crate) fn upload_journal(&self) -> Option<&PathBuf> {
        self.upload_journal.as_ref()
    }

    /// Returns false if the storage has refused a multipart upload to this bucket since the process started.
    pub(crate) fn accepts_parts(&self) -> bool {
        !buckets_without_multipart().contains(&self.endpoint_and_name())
    }

    /// Remembers that the storage refuses multipart uploads to this bucket.
    pub(crate) fn refuse_parts(&self, error: &BucketError) {
        if buckets_without_multipart().insert(self.endpoint_and_name()) {
            let bucket = self.root();
            tracing::warn!(bucket, %error, "uploads cannot be resumed: the storage refuses multipart uploads");
        }
    }

    fn endpoint_and_name(&self) -> (String, String) {
        (self.signer.endpoint().to_string(), self.name.clone())
    }

    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Starts the attempts of one request to the storage.
    pub(crate) fn attempts(&self) -> Attempts {
        Attempts::begin(&self.http, &self.retry).with_host_of(self.signer.endpoint())
    }

    #[cfg(feature = "object-store")]
    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// Returns the address of a key for messages, even if the key is invalid.
    fn display_address(&self, key: &str) -> String {
        format!("{}://{}/{key}", self.protocol, self.name)
    }

    /// Returns the properties of an object, or `None` if it does not exist.
    pub(crate) async fn state(&self, key: &str) -> Result<Option<ObjectState>, BucketError> {
        let mut attempts = self.attempts();
        let outcome = loop {
            if let Err(exhausted) = attempts.wait_until_ready().await {
                break Err(BucketError::unavailable(exhausted));
            }
            if let Break(outcome) = attempts.evaluate(self.request_state(key).await) {
                break outcome;
            }
        };
        outcome.map_err(|error| {
            error.with_summary(format!("the properties of {} cannot be read", self.display_address(key)))
        })
    }

    async fn request_state(&self, key: &str) -> Result<Option<ObjectState>, BucketError> {
        let response = self.request(Method::Head, Some(key), &[]).await?;
        match response.status() {
            404 => Ok(None),
            200 => Ok(Some(ObjectState {
                bytes: response.header("x-goog-stored-content-length").and_then(|bytes| bytes.parse().ok()),
                crc32c: storage_checksum(&response),
            })),
            _ => Err(BucketError::refused(ErrorResponse::read(response).await)),
        }
    }

    /// Sends a request with a signed URL: for the object `key`, or for the bucket itself if it is `None`.
    async fn request(
        &self,
        method: Method,
        key: Option<&str>,
        query: &[(&str, &str)],
    ) -> Result<Response, BucketError> {
        self.http.send(self.signed_request(method, key, query, &[])?).await.map_err(BucketError::http)
    }

    /// Returns a request with a signed URL. `query` and `headers` must be sorted by name. The caller must add the
    /// headers to the request.
    fn signed_request(
        &self,
        method: Method,
        key: Option<&str>,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Result<Request, BucketError> {
        let unsigned = UnsignedRequest { method, bucket: &self.name, key, query, headers };
        let url = self.signer.sign(&unsigned, REQUEST_LIFETIME).map_err(BucketError::sign)?;
        Ok(Request::new(method, url.expose().clone()))
    }

    /// Sends a request with retries. Returns the XML document of the response, and the object properties in its
    /// headers.
    async fn request_document(
        &self,
        request: impl Fn() -> Result<Request, BucketError>,
    ) -> Result<(Document, ObjectHeaders), BucketError> {
        let mut attempts = self.attempts();
        loop {
            attempts.wait_until_ready().await.map_err(BucketError::unavailable)?;
            let outcome = match self.http.send(request()?).await {
                Ok(response) => read_document(response).await,
                Err(error) => Err(BucketError::http(error)),
            };
            if let Break(outcome) = attempts.evaluate(outcome) {
                return outcome;
            }
        }
    }
}

/// Returns the XML document of a successful response, and the object properties in its headers.
async fn read_document(response: Response) -> Result<(Document, ObjectHeaders), BucketError> {
    if response.status() != 200 {
        return Err(BucketError::refused(ErrorResponse::read(response).await));
    }
    let generation = response.header("x-goog-generation").map(str::to_owned);
    let headers = ObjectHeaders { crc32c: storage_checksum(&response), generation };
    let body = response.bytes(MAX_RESPONSE_BYTES).await.map_err(BucketError::http)?;
    match Document::read(&body).map_err(BucketError::malformed)? {
        Document::Error(error) => Err(BucketError::refused(ErrorResponse::with_status_200(&error.code))),
        document => Ok((document, headers)),
    }
}
