//! Uploads to a bucket, complete and verified.
//!
//! Difficult cases:
//! - **The object exists.** The storage is queried first; an object with the same length and checksum is not sent
//!   again, so that a killed upload can be resumed.
//! - **The file changes during the upload.** Its checksum is sent first, so that the storage rejects other content; and
//!   the last chunk is sent only if the file is unchanged, so that changed content is never complete.
//! - **The URL has expired, or is rejected.** Each attempt has its own URL.
//! - **The response is lost.** The same file is sent again and replaces itself.
//!
//! Files of 64 MiB and more are sent in [parts], unless the storage refuses them.

mod content;
mod error;
mod file;
mod journal;
mod local;
mod parts;
mod progress;

use std::collections::HashSet;
use std::fmt;
use std::ops::ControlFlow::Break;
use std::sync::Arc;

use auth_http::{Method, Request, Response};
use futures_util::{StreamExt, stream};
use tokio::sync::Semaphore;

use crate::retry::Retryable;
use crate::storage::bucket::{ErrorResponse, stated_checksum};
use crate::storage::signer::Unsigned;
use crate::{Bucket, Crc32c, ObjectAddress};
use content::Content;
use error::Kind;
use local::{LocalFile, OpenFile};
use parts::{PartUpload, THRESHOLD};
use progress::{FileProgress, Observer, Sent, Total};

pub use error::UploadError;
pub use file::UploadFile;
pub use progress::{UploadEvent, UploadStep};

/// The default number of files at a time.
const WORKERS: usize = 4;
/// The maximum number of parts in flight.
const PARTS: usize = 12;

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
///         Ok(uploaded) => println!("{} is there, with the CRC32C {}", upload.file.key(), uploaded.crc32c),
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
    /// The outcome. After an error, the storage has no partial file.
    pub result: Result<Uploaded, UploadError>,
}

/// A file in the bucket, confirmed by the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uploaded {
    /// The length of the file, in bytes.
    pub bytes: u64,
    /// The checksum of the file.
    pub crc32c: Crc32c,
    /// True if the object existed already, so that nothing was sent.
    pub already_present: bool,
}

impl Uploader {
    /// Creates an uploader to `bucket`, with [its retries](Bucket::with_retry) and limits.
    pub fn new(bucket: Bucket) -> Self {
        let (workers, parts) = bucket.uploads().jobs.map_or((WORKERS, PARTS), |jobs| (jobs, jobs));
        Self { bucket, workers, in_flight: Arc::new(Semaphore::new(parts)), observer: None }
    }

    /// Sets the maximum number of files at a time. The default is 4, the minimum 1. Independently of it, at most 12 parts
    /// of large files are sent at a time.
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Sets an observer of sent chunks and finished files. It must not block.
    pub fn with_observer(mut self, observer: impl Fn(&UploadEvent<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Uploads files, and returns the results in the order of the files. A failed file does not stop the others. If the
    /// future is dropped, a new call skips the objects that exist.
    pub async fn upload(&self, files: impl IntoIterator<Item = UploadFile>) -> Vec<Upload> {
        let files: Vec<_> = files.into_iter().map(Arc::new).collect();
        let total = Arc::new(Total::of(&files).await);
        let mut keys = HashSet::new();
        let files: Vec<_> = files.iter().map(|file| (file.clone(), keys.insert(file.key().to_owned()))).collect();
        let uploads = files.into_iter().enumerate().map(async |(place, (file, is_first))| {
            let progress = Arc::new(FileProgress::new(file.clone(), total.clone(), self.observer.clone()));
            let outcome =
                if is_first { Box::pin(self.one(&file, &progress)).await } else { Err(Kind::Duplicate.into()) };
            progress.ended(outcome.as_ref().ok().map(|uploaded| uploaded.already_present));
            let result = outcome.map_err(|error| error.about(file.path(), file.key()));
            (place, Upload { file: UploadFile::clone(&file), result })
        });
        let mut uploads: Vec<_> = stream::iter(uploads).buffer_unordered(self.workers).collect().await;
        uploads.sort_unstable_by_key(|(place, _)| *place);
        uploads.into_iter().map(|(_, upload)| upload).collect()
    }

    async fn one(&self, file: &UploadFile, progress: &Arc<FileProgress>) -> Result<Uploaded, UploadError> {
        let object = self.bucket.address(file.key()).map_err(|error| Kind::Sign.with(error))?;
        let local = LocalFile::examine(file.path()).await?;
        let (bytes, open) = (local.bytes(), local.open().await?);
        progress.begin(bytes);
        let state = match self.bucket.state(file.key()).await {
            // Write permission may exist without read permission.
            Err(error) if error.is_denied() => None,
            state => state.map_err(|error| Kind::Look(error.is_transient()).with(error))?,
        };
        let similar = state.filter(|state| state.bytes == Some(bytes)).and_then(|state| state.crc32c);
        let in_parts = bytes >= THRESHOLD && self.bucket.accepts_parts();
        let mut crc32c = file.crc32c();
        // The parts of a new object are read once: their checksums are those of the file.
        if crc32c.is_none() && (similar.is_some() || !in_parts) {
            crc32c = Some(open.checksum().await?);
        }
        if let Some(crc32c) = crc32c
            && similar == Some(crc32c)
        {
            if in_parts {
                parts::forget(&self.bucket, &local, &object).await?;
            }
            return Ok(Uploaded { bytes, crc32c, already_present: true });
        }
        if in_parts {
            let (bucket, object, local, in_flight) = (&self.bucket, &object, &local, &*self.in_flight);
            let upload = PartUpload { bucket, file, object, local, open: open.clone(), progress, in_flight };
            if let Some(crc32c) = Box::pin(upload.run()).await? {
                return Ok(Uploaded { bytes, crc32c, already_present: false });
            }
        }
        let crc32c = match crc32c {
            Some(crc32c) => crc32c,
            None => open.checksum().await?,
        };
        self.whole(file, &object, &open, crc32c, progress).await?;
        Ok(Uploaded { bytes, crc32c, already_present: false })
    }

    /// Uploads the file with one request.
    async fn whole(
        &self,
        file: &UploadFile,
        object: &ObjectAddress,
        open: &OpenFile,
        crc32c: Crc32c,
        progress: &Arc<FileProgress>,
    ) -> Result<(), UploadError> {
        // The semaphore is never closed.
        let _permit = self.in_flight.acquire().await;
        let mut attempts = self.bucket.attempts();
        loop {
            attempts.ready().await.map_err(UploadError::unavailable)?;
            let sent = Sent::of(progress, progress.begin(open.bytes()));
            let content = Content::of(open.clone(), 0..open.bytes(), Some(crc32c), sent)?;
            let content = content.with_rate_limit(self.bucket.uploads().rate_limit.clone());
            let outcome = self.send(file, object, content, crc32c).await;
            if let Break(outcome) = attempts.judge(outcome) {
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
        // A storage header that is sent must be signed.
        let headers = [("x-goog-hash", hash.as_str())];
        let unsigned = Unsigned { headers: &headers, ..Unsigned::of(Method::Put, object) };
        let url = self.bucket.signer().sign_put(&unsigned).map_err(|error| Kind::Sign.with(error))?;
        let request = Request::new(Method::Put, url.expose().clone())
            .with_stream(length, content.into_stream())
            .with_header("content-type", file.content_type())
            .with_header("x-goog-hash", &hash);
        let request = self.bucket.uploads().read_timeout.into_iter().fold(request, Request::with_read_timeout);
        let answer = self.bucket.http().send(request).await;
        // A local error is the reason why the request failed.
        if let Some(Err(error)) = outcome.take() {
            return Err(error);
        }
        let response = answer.map_err(|error| Kind::Http(error.is_transient()).with(error))?;
        self.confirm(response, file, crc32c).await
    }

    /// Checks that the storage has the sent content.
    async fn confirm(&self, response: Response, file: &UploadFile, crc32c: Crc32c) -> Result<(), UploadError> {
        if response.status() != 200 {
            return Err(Kind::Refused(ErrorResponse::read(response).await).into());
        }
        match stated_checksum(&response) {
            Some(actual) if actual == crc32c => Ok(()),
            Some(actual) => {
                // The storage did not verify the checksum. If the object cannot be deleted, the next attempt overwrites
                // it. Without a generation, the object may be that of another client.
                if let Some(generation) = response.header("x-goog-generation").map(str::to_owned) {
                    let _ = self.bucket.delete_generation(file.key(), &generation).await;
                }
                Err(Kind::Corrupt { expected: crc32c, actual }.into())
            }
            None => Err(Kind::Unconfirmed.into()),
        }
    }
}

impl fmt::Debug for Uploader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Uploader");
        shown.field("bucket", &self.bucket).field("workers", &self.workers).finish_non_exhaustive()
    }
}

// An upload can run on another thread.
const _: fn(&Uploader) = |uploader| {
    fn is_send(_: impl Send) {}
    is_send(uploader.upload(Vec::new()));
};
