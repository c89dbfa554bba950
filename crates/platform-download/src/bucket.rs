//! The objects of a bucket: named, listed, found, deleted. Every request is a signed URL; nothing else is sent.

mod answer;
mod delete;
mod error;
mod list;

use std::ops::ControlFlow::Break;
use std::time::Duration;

use auth_http::{HttpClient, Method, Request, Response, SignedUrl};

use crate::retry::{Attempts, RetryPolicy, Retryable, for_transfers};
use crate::signer::Unsigned;
use crate::{Crc32c, ObjectAddress, SignError, UrlSigner};

pub(crate) use answer::{Refusal, stated_checksum};
pub use delete::{Deleted, Deletion};
pub use error::BucketError;
pub use list::ObjectEntry;

/// How long the URL of one of our own requests is good for, which is made right before it is used.
const REQUEST_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// A bucket of a storage. Cheap to clone.
///
/// ```no_run
/// use auth_http::HttpClient;
/// use futures_util::TryStreamExt;
/// use platform_download::{Bucket, UrlSigner};
///
/// # async fn example(signer: UrlSigner) -> Result<(), Box<dyn std::error::Error>> {
/// let http = HttpClient::builder().without_decompression().build()?;
/// let bucket = Bucket::new(http, signer, "slides");
/// // What would be deleted is what is found.
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
}

/// What is known of an object without fetching it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObjectState {
    pub(crate) bytes: Option<u64>,
    pub(crate) crc32c: Option<Crc32c>,
}

impl Bucket {
    /// The bucket `name`. `http` must not decompress: checksums are those of the stored bytes.
    pub fn new(http: HttpClient, signer: UrlSigner, name: impl Into<String>) -> Self {
        Self { http, signer, name: name.into(), protocol: "gs".to_owned(), retry: for_transfers() }
    }

    /// What the addresses of its objects begin with: `gs` unless something is said.
    pub fn with_protocol(mut self, protocol: impl Into<String>) -> Self {
        self.protocol = protocol.into();
        self
    }

    /// Sets how long transient failures are retried: 30 minutes by default.
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the addresses of its objects begin with: `gs://bucket/`.
    pub fn root(&self) -> String {
        self.shown("")
    }

    /// What signs its URLs.
    pub fn signer(&self) -> &UrlSigner {
        &self.signer
    }

    /// The address of an object: `gs://bucket/key`.
    ///
    /// # Errors
    ///
    /// [`SignError::is_address`]: the key has a segment that is empty, `.` or `..`.
    pub fn address(&self, key: &str) -> Result<ObjectAddress, SignError> {
        ObjectAddress::new(&self.protocol, &self.name, key)
    }

    /// A URL that whoever has it can PUT the object `key` to, for `lifetime`: 60 s to 7 days.
    ///
    /// # Errors
    ///
    /// [`SignError::is_lifetime`], [`SignError::is_address`].
    pub fn put_url(&self, key: &str, lifetime: impl Into<Option<Duration>>) -> Result<SignedUrl, SignError> {
        self.signer.put_url(&self.address(key)?, lifetime)
    }

    /// A URL that whoever has it can GET the object `key` from, for `lifetime`: 60 s to 7 days.
    ///
    /// # Errors
    ///
    /// [`SignError::is_lifetime`], [`SignError::is_address`].
    pub fn get_url(&self, key: &str, lifetime: impl Into<Option<Duration>>) -> Result<SignedUrl, SignError> {
        self.signer.get_url(&self.address(key)?, lifetime)
    }

    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Begins the attempts at one request to the storage.
    pub(crate) fn attempts(&self) -> Attempts {
        Attempts::begin(&self.http, &self.retry).toward(self.signer.endpoint())
    }

    #[cfg(feature = "object-store")]
    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// What is shown of an object, whatever its key.
    fn shown(&self, key: &str) -> String {
        format!("{}://{}/{key}", self.protocol, self.name)
    }

    /// What there is under a key; `None` if there is nothing.
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
            _ => Err(BucketError::refused(Refusal::read(response).await)),
        }
    }

    /// Sends a request about an object, or about the bucket, with a URL that is signed for it.
    async fn request(
        &self,
        method: Method,
        key: Option<&str>,
        query: &[(&str, &str)],
    ) -> Result<Response, BucketError> {
        let unsigned = Unsigned { method, bucket: &self.name, key, query, headers: &[] };
        let url = self.signer.sign(&unsigned, REQUEST_LIFETIME).map_err(BucketError::sign)?;
        self.http.send(Request::new(method, url.expose().clone())).await.map_err(BucketError::http)
    }
}
