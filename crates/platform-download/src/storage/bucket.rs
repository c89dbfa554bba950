//! Objects of a bucket: addressing, listing, finding and deleting. All requests use signed URLs and no other
//! credentials.

mod delete;
mod error;
mod list;
mod multipart;
mod response;
mod xml;

use std::collections::BTreeSet;
use std::ops::ControlFlow::Break;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use auth_http::{HttpClient, Method, Request, Response, SignedUrl};

use crate::retry::{Attempts, RetryPolicy, Retryable, for_transfers};
use crate::storage::signer::Unsigned;
use crate::{Crc32c, ObjectAddress, RateLimit, SignError, UrlSigner};

pub use delete::{Deleted, Deletion};
pub use error::BucketError;
pub use list::ObjectEntry;
pub use multipart::UnfinishedUpload;
pub(crate) use response::{ErrorResponse, stated_checksum};
use xml::Document;

/// The lifetime of a URL for one of this crate's own requests, signed right before use.
const REQUEST_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The maximum size of a response, in bytes: 1000 keys of 1024 bytes, which the URL encoding may triple,
/// with their properties.
const LIMIT: usize = 8 * 1024 * 1024;

/// A storage bucket. Clones are cheap.
///
/// ```no_run
/// use auth_http::HttpClient;
/// use futures_util::TryStreamExt;
/// use platform_download::{Bucket, UrlSigner};
///
/// # async fn example(signer: UrlSigner) -> Result<(), Box<dyn std::error::Error>> {
/// let http = HttpClient::builder().without_decompression().build()?;
/// let bucket = Bucket::new(http, signer, "slides");
/// // The keys to delete are listed first.
/// let found: Vec<_> = bucket.find("run-1/**/*.tmp")?.try_collect().await?;
/// for deletion in bucket.delete(found.into_iter().map(|entry| entry.key)).await {
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

/// The limits of uploads; defaults where they are `None`.
#[derive(Clone, Debug, Default)]
pub(crate) struct UploadLimits {
    /// The number of concurrent requests.
    pub(crate) jobs: Option<usize>,
    /// The minimum size of a part.
    pub(crate) part_bytes: Option<u64>,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) read_timeout: Option<Duration>,
}

/// Returns the buckets that refuse uploads in parts, by endpoint and name. They are remembered until the process ends.
fn refusing() -> MutexGuard<'static, BTreeSet<(String, String)>> {
    static REFUSING: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());
    REFUSING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The properties of an object in the headers of a response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stated {
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
    /// Returns a handle to the bucket `name`; no request is sent. `http` must not decompress responses, because
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

    /// Sets the protocol of object addresses, `gs` by default.
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

    /// Sets a folder for the records of uploads in parts, which only the user can read. With it, another process
    /// continues an interrupted [upload](crate::Uploader).
    pub fn with_upload_journal(mut self, folder: impl Into<PathBuf>) -> Self {
        self.upload_journal = Some(folder.into());
        self
    }

    /// Sets the maximum number of concurrent requests of an [`Uploader`](crate::Uploader), at least 1. By default, 4 files
    /// and 12 parts of large files are sent at a time.
    pub fn with_upload_jobs(mut self, jobs: usize) -> Self {
        self.uploads.jobs = Some(jobs.max(1));
        self
    }

    /// Sets the size in bytes of the parts of large files that are uploaded. The default and minimum is 8 MiB. An upload in
    /// parts of another size is not continued.
    pub fn with_upload_part_size(mut self, bytes: u64) -> Self {
        self.uploads.part_bytes = Some(bytes);
        self
    }

    /// Sets a limit for the sum of the rates of all uploads. It can be shared with downloads.
    pub fn with_rate_limit(mut self, limit: RateLimit) -> Self {
        self.uploads.rate_limit = Some(limit);
        self
    }

    /// Sets the maximum time without a sent byte or a response of an upload, by default that of the HTTP client. Increase it
    /// for proxies that store the content before they forward it.
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
        self.shown("")
    }

    /// Returns the signer of its URLs.
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

    /// Returns false if the storage has refused an upload in parts to this bucket in this process.
    pub(crate) fn accepts_parts(&self) -> bool {
        !refusing().contains(&self.place())
    }

    /// Remembers that the storage refuses uploads in parts to this bucket.
    pub(crate) fn refuse_parts(&self, error: &BucketError) {
        if refusing().insert(self.place()) {
            let bucket = self.root();
            tracing::warn!(bucket, %error, "uploads cannot be resumed: the storage refuses uploads in parts");
        }
    }

    /// Returns the endpoint and the name of the bucket.
    fn place(&self) -> (String, String) {
        (self.signer.endpoint().to_string(), self.name.clone())
    }

    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Starts the attempts of one request to the storage.
    pub(crate) fn attempts(&self) -> Attempts {
        Attempts::begin(&self.http, &self.retry).toward(self.signer.endpoint())
    }

    #[cfg(feature = "object-store")]
    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// Returns the address of any key, for display.
    fn shown(&self, key: &str) -> String {
        format!("{}://{}/{key}", self.protocol, self.name)
    }

    /// Returns the properties of an object, or `None` if it does not exist.
    pub(crate) async fn state(&self, key: &str) -> Result<Option<ObjectState>, BucketError> {
        let mut attempts = self.attempts();
        let outcome = loop {
            if let Err(gave_up) = attempts.ready().await {
                break Err(BucketError::unavailable(gave_up));
            }
            if let Break(outcome) = attempts.judge(self.look(key).await) {
                break outcome;
            }
        };
        outcome.map_err(|error| error.about(format!("{} cannot be looked at", self.shown(key))))
    }

    async fn look(&self, key: &str) -> Result<Option<ObjectState>, BucketError> {
        let response = self.request(Method::Head, Some(key), &[]).await?;
        match response.status() {
            404 => Ok(None),
            200 => Ok(Some(ObjectState {
                bytes: response.header("x-goog-stored-content-length").and_then(|bytes| bytes.parse().ok()),
                crc32c: stated_checksum(&response),
            })),
            _ => Err(BucketError::refused(ErrorResponse::read(response).await)),
        }
    }

    /// Sends a request about an object or the bucket, with a signed URL.
    async fn request(
        &self,
        method: Method,
        key: Option<&str>,
        query: &[(&str, &str)],
    ) -> Result<Response, BucketError> {
        self.http.send(self.signed(method, key, query, &[])?).await.map_err(BucketError::http)
    }

    /// Returns a request with a signed URL. `query` and `headers` are sorted by name; the headers must be sent, too.
    fn signed(
        &self,
        method: Method,
        key: Option<&str>,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Result<Request, BucketError> {
        let unsigned = Unsigned { method, bucket: &self.name, key, query, headers };
        let url = self.signer.sign(&unsigned, REQUEST_LIFETIME).map_err(BucketError::sign)?;
        Ok(Request::new(method, url.expose().clone()))
    }

    /// Sends a request for a document, with retries. Returns also the properties of the object in the headers.
    async fn ask(&self, request: impl Fn() -> Result<Request, BucketError>) -> Result<(Document, Stated), BucketError> {
        let mut attempts = self.attempts();
        loop {
            attempts.ready().await.map_err(BucketError::unavailable)?;
            let outcome = match self.http.send(request()?).await {
                Ok(response) => document(response).await,
                Err(error) => Err(BucketError::http(error)),
            };
            if let Break(outcome) = attempts.judge(outcome) {
                return outcome;
            }
        }
    }
}

/// Reads the document of a successful response, and the properties of the object in its headers.
async fn document(response: Response) -> Result<(Document, Stated), BucketError> {
    if response.status() != 200 {
        return Err(BucketError::refused(ErrorResponse::read(response).await));
    }
    let generation = response.header("x-goog-generation").map(str::to_owned);
    let joined = Stated { crc32c: stated_checksum(&response), generation };
    let body = response.bytes(LIMIT).await.map_err(BucketError::http)?;
    match Document::read(&body).map_err(BucketError::document)? {
        Document::Error(refusal) => Err(BucketError::refused(ErrorResponse::late(&refusal.code))),
        document => Ok((document, joined)),
    }
}
