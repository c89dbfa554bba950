//! Verified uploads to a bucket.
//!
//! Difficult cases:
//! - **The object exists.** The storage is queried first. A file is not sent again if the object has the same length
//!   and checksum, so that a repeated upload skips the files that are complete.
//! - **The file changes during the upload.** The checksum is sent first, so that the storage rejects other content. The
//!   last chunk is sent only if the file is unchanged, so that the storage never receives the complete content of a
//!   changed file.
//! - **The URL has expired, or is rejected.** Each attempt signs a new URL.
//! - **The response is lost.** The file is sent again and replaces the identical object.
//!
//! Files of 64 MiB and more are sent as [multipart uploads](parts), unless the storage refuses multipart uploads.

mod content;
#[cfg(feature = "object-store")]
mod copy;
mod error;
mod file;
mod folder;
mod local;
mod part_source;
mod parts;
mod progress;
#[cfg(feature = "object-store")]
mod remote;

use std::collections::HashSet;
use std::fmt;
use std::ops::ControlFlow::Break;
use std::sync::Arc;

use auth_core::error_chain;
use auth_http::{Method, Request, Response};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::retry::Retryable;
use crate::storage::bucket::{ErrorResponse, storage_checksum};
use crate::storage::signer::UnsignedRequest;
use crate::{Bucket, Crc32c, ObjectAddress};
use content::Content;
use error::Kind;
use local::{LocalFile, OpenFile};
use parts::{MULTIPART_THRESHOLD, PartUpload};
use progress::{FileProgress, Observer, SentBytes, TotalProgress};

#[cfg(feature = "object-store")]
pub use copy::{BucketCopy, CopyObject, CopySource};
pub use error::UploadError;
pub use file::UploadFile;
pub use folder::{UploadFolder, UploadPathError};
pub use progress::{UploadEvent, UploadStep};

/// The default maximum number of files that are sent at a time.
const DEFAULT_WORKERS: usize = 4;
/// The default maximum number of requests in flight: whole files, and parts of large files.
const DEFAULT_PARTS_IN_FLIGHT: usize = 12;

/// An uploader of files to a bucket.
///
/// ```no_run
/// use platform_download::{Bucket, UploadFile, Uploader};
///
/// # async fn example(bucket: Bucket) {
/// let show = |event: &platform_download::UploadEvent<'_>| println!("{}/{}", event.total_done, event.total_bytes);
/// let uploader = Uploader::new(bucket).with_observer(show);
/// let slide = UploadFile::new("slides/slide.svs", "run 1/slide.svs").with_content_type("image/tiff");
/// for upload in uploader.upload([slide]).await {
///     match upload.result {
///         Ok(uploaded) => println!("{} has the CRC32C {}", upload.file.key(), uploaded.crc32c),
///         Err(error) => println!("{error}"),
///     }
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Uploader {
    bucket: Bucket,
    workers: usize,
    in_flight: Arc<Semaphore>,
    observer: Option<Arc<Observer>>,
}

/// The result of an upload.
#[derive(Debug)]
#[non_exhaustive]
pub struct Upload {
    /// The file.
    pub file: UploadFile,
    /// The outcome. After an error, the bucket has no incomplete object.
    pub result: Result<Uploaded, UploadError>,
}

/// The properties of an uploaded object, confirmed by the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uploaded {
    /// The length of the file, in bytes.
    pub bytes: u64,
    /// The checksum of the file.
    pub crc32c: Crc32c,
    /// True if the object existed already and nothing was sent.
    pub already_present: bool,
}

/// The JSON of an upload. `docs/schemas/bucket-upload.json` describes it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct UploadRecord {
    /// The path of the file, or the address of the source.
    pub path: String,
    /// The key of the object.
    pub key: String,
    /// The address of the object.
    pub address: String,
    /// The length, if the file was uploaded.
    pub bytes: Option<u64>,
    /// The checksum, if the file was uploaded.
    pub crc32c: Option<Crc32c>,
    /// True if the object existed already.
    pub already_present: Option<bool>,
    /// The error with its causes.
    pub error: Option<String>,
}

/// The JSON of uploads and copies. `docs/schemas/bucket-upload.json` describes it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct UploadReport {
    /// The name of the bucket.
    pub bucket: String,
    /// True if every file is in the bucket.
    pub complete: bool,
    /// The addresses of objects that were not copied because they mark folders.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<String>,
    /// The results for each file.
    pub files: Vec<UploadRecord>,
}

impl UploadReport {
    /// Returns the report of uploads to `bucket`.
    pub fn new(uploads: &[Upload], folders: &[String], bucket: &Bucket) -> Self {
        Self {
            bucket: bucket.name().to_owned(),
            complete: uploads.iter().all(|upload| upload.result.is_ok()),
            folders: folders.to_owned(),
            files: uploads.iter().map(|upload| upload.record(bucket)).collect(),
        }
    }
}

impl Upload {
    /// Returns the record of the upload to `bucket`.
    pub fn record(&self, bucket: &Bucket) -> UploadRecord {
        let (key, uploaded) = (self.file.key().to_owned(), self.result.as_ref().ok());
        UploadRecord {
            path: self.file.path().display().to_string(),
            address: format!("{}{key}", bucket.root()),
            key,
            bytes: uploaded.map(|uploaded| uploaded.bytes),
            crc32c: uploaded.map(|uploaded| uploaded.crc32c),
            already_present: uploaded.map(|uploaded| uploaded.already_present),
            error: self.result.as_ref().err().map(|error| error_chain(error)),
        }
    }
}

impl Uploader {
    /// Creates an uploader to `bucket`, with the [retry policy](Bucket::with_retry) and the upload limits of the
    /// bucket.
    pub fn new(bucket: Bucket) -> Self {
        let (workers, parts) =
            bucket.uploads().jobs.map_or((DEFAULT_WORKERS, DEFAULT_PARTS_IN_FLIGHT), |jobs| (jobs, jobs));
        Self { bucket, workers, in_flight: Arc::new(Semaphore::new(parts)), observer: None }
    }

    /// Sets the maximum number of files that are sent at a time. The default is 4, the minimum 1. It does not change
    /// the maximum number of parts in flight ([`Bucket::with_upload_jobs`]).
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Sets a function that is called for each sent chunk and each finished file. It must not block.
    pub fn with_observer(mut self, observer: impl Fn(&UploadEvent<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Uploads files, and returns the results in the order of the files. After an error, the other files are still
    /// sent. If the future is dropped, a later call skips the files that were sent completely.
    pub async fn upload(&self, files: impl IntoIterator<Item = UploadFile>) -> Vec<Upload> {
        let files: Vec<_> = files.into_iter().map(Arc::new).collect();
        let total = Arc::new(TotalProgress::of(&files).await);
        let mut keys = HashSet::new();
        let files: Vec<_> = files.iter().map(|file| (file.clone(), keys.insert(file.key().to_owned()))).collect();
        let uploads = files.into_iter().enumerate().map(async |(position, (file, is_first))| {
            let progress = Arc::new(FileProgress::new(file.clone(), total.clone(), self.observer.clone()));
            let outcome =
                if is_first { Box::pin(self.upload_one(&file, &progress)).await } else { Err(Kind::Duplicate.into()) };
            progress.finish(outcome.as_ref().ok().map(|uploaded| uploaded.already_present));
            let result = outcome.map_err(|error| error.with_file(file.path(), file.key()));
            (position, Upload { file: UploadFile::clone(&file), result })
        });
        let mut uploads: Vec<_> = stream::iter(uploads).buffer_unordered(self.workers).collect().await;
        uploads.sort_unstable_by_key(|(position, _)| *position);
        uploads.into_iter().map(|(_, upload)| upload).collect()
    }

    async fn upload_one(&self, file: &UploadFile, progress: &Arc<FileProgress>) -> Result<Uploaded, UploadError> {
        let object = self.bucket.address(file.key()).map_err(|error| Kind::Sign.with(error))?;
        let local_file = LocalFile::examine(file.path()).await?;
        let (bytes, open_file) = (local_file.bytes(), local_file.open().await?);
        progress.start_attempt(bytes);
        let existing_crc32c = existing_checksum(&self.bucket, file.key(), bytes).await?;
        let is_multipart = bytes >= MULTIPART_THRESHOLD && self.bucket.accepts_parts();
        let mut crc32c = file.crc32c();
        // A multipart upload of a new object combines the checksums of its parts, so that the file is read only once.
        if crc32c.is_none() && (existing_crc32c.is_some() || !is_multipart) {
            crc32c = Some(open_file.checksum().await?);
        }
        if let Some(crc32c) = crc32c
            && existing_crc32c == Some(crc32c)
        {
            if is_multipart {
                parts::forget(&self.bucket, &open_file, &object).await?;
            }
            return Ok(Uploaded { bytes, crc32c, already_present: true });
        }
        if is_multipart {
            let (bucket, object, in_flight) = (&self.bucket, &object, &*self.in_flight);
            let upload = PartUpload { bucket, file, object, source: &open_file, progress, in_flight };
            if let Some(crc32c) = Box::pin(upload.run()).await? {
                return Ok(Uploaded { bytes, crc32c, already_present: false });
            }
        }
        let crc32c = match crc32c {
            Some(crc32c) => crc32c,
            None => open_file.checksum().await?,
        };
        self.upload_whole(file, &object, &open_file, crc32c, progress).await?;
        Ok(Uploaded { bytes, crc32c, already_present: false })
    }

    /// Uploads the file with one request.
    async fn upload_whole(
        &self,
        file: &UploadFile,
        object: &ObjectAddress,
        open_file: &OpenFile,
        crc32c: Crc32c,
        progress: &Arc<FileProgress>,
    ) -> Result<(), UploadError> {
        // Acquiring a permit cannot fail, because the semaphore is never closed.
        let _permit = self.in_flight.acquire().await;
        let mut attempts = self.bucket.attempts();
        loop {
            attempts.wait_until_ready().await.map_err(UploadError::unavailable)?;
            let sent = SentBytes::new(progress, progress.start_attempt(open_file.bytes()));
            let content = Content::new(open_file.clone(), 0..open_file.bytes(), Some(crc32c), sent)?;
            let content = content.with_rate_limit(self.bucket.uploads().rate_limit.clone());
            let outcome = self.send(file, object, content, crc32c).await;
            if let Break(outcome) = attempts.evaluate(outcome) {
                return outcome;
            }
        }
    }

    async fn send(
        &self,
        file: &UploadFile,
        object: &ObjectAddress,
        content: Content,
        crc32c: Crc32c,
    ) -> Result<(), UploadError> {
        let (length, outcome) = (content.bytes(), content.outcome());
        let hash = format!("crc32c={crc32c}");
        // The storage requires that each `x-goog-` header is signed.
        let headers = [("x-goog-hash", hash.as_str())];
        let unsigned = UnsignedRequest { headers: &headers, ..UnsignedRequest::of(Method::Put, object) };
        let url = self.bucket.signer().sign_put(&unsigned).map_err(|error| Kind::Sign.with(error))?;
        let request = Request::new(Method::Put, url.expose().clone())
            .with_stream(length, content.into_stream())
            .with_header("content-type", file.content_type())
            .with_header("x-goog-hash", &hash);
        let request = self.bucket.uploads().read_timeout.into_iter().fold(request, Request::with_read_timeout);
        let response = self.bucket.http().send(request).await;
        // A local error takes precedence, because it is the cause of the failed request.
        if let Some(Err(error)) = outcome.take() {
            return Err(error);
        }
        let response = response.map_err(|error| Kind::Http(error.is_transient()).with(error))?;
        check_response(&self.bucket, response, file.key(), crc32c).await
    }
}

/// Returns the checksum of the existing object, if it has this length.
async fn existing_checksum(bucket: &Bucket, key: &str, bytes: u64) -> Result<Option<Crc32c>, UploadError> {
    let state = match bucket.state(key).await {
        // The signing key may permit writing, but not reading.
        Err(error) if error.is_denied() => None,
        state => state.map_err(|error| Kind::Query(error.is_transient()).with(error))?,
    };
    Ok(state.filter(|state| state.bytes == Some(bytes)).and_then(|state| state.crc32c))
}

/// Checks that the response confirms the checksum of the sent content.
async fn check_response(bucket: &Bucket, response: Response, key: &str, crc32c: Crc32c) -> Result<(), UploadError> {
    if response.status() != 200 {
        return Err(Kind::Refused(ErrorResponse::read(response).await).into());
    }
    match storage_checksum(&response) {
        Some(actual) if actual == crc32c => Ok(()),
        Some(actual) => {
            // The storage did not verify the checksum. If the deletion fails, the next attempt overwrites the object.
            // Without a generation, the object is not deleted, because another client may have replaced it.
            if let Some(generation) = response.header("x-goog-generation").map(str::to_owned) {
                let _ = bucket.delete_generation(key, &generation).await;
            }
            Err(Kind::Corrupt { expected: crc32c, actual }.into())
        }
        None => Err(Kind::Unconfirmed.into()),
    }
}

impl fmt::Debug for Uploader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut output = formatter.debug_struct("Uploader");
        output.field("bucket", &self.bucket).field("workers", &self.workers).finish_non_exhaustive()
    }
}

// Asserts that the future of an upload is `Send`.
const _: fn(&Uploader) = |uploader| {
    fn is_send(_: impl Send) {}
    is_send(uploader.upload(Vec::new()));
};
