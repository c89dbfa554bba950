//! The download of one file: requests for its parts, retries, and writing of the content.

mod content;
mod request;
mod small;

use std::ops::Range;
use std::sync::Arc;
use std::thread::available_parallelism;

use auth_http::Response;
use futures_util::stream::{self, StreamExt};
use tokio::sync::OwnedSemaphorePermit;

use crate::checksum::Crc32c;
use crate::digest::{Digest, READ_BUFFER_BYTES};
use crate::error::DownloadError;
use crate::names::target::Target;
use crate::retry::Attempts;
use crate::transfer::background_digest::BackgroundDigest;
use crate::transfer::blocking::blocking;
use crate::transfer::collected::CollectedContent;
use crate::transfer::downloader::Downloader;
use crate::transfer::durability::Durability;
use crate::transfer::partial_file::{Object, PartialFile};
use crate::transfer::plan::{CompletedRange, combined_crc32c, first_missing_range, missing_ranges};
use crate::transfer::progress::Progress;
use crate::transfer::response::{TransferResponse, Validator};
use crate::transfer::source::{Expected, SharedUrl};
use crate::transfer::writer::Writer;
use content::check_retry;

/// The reason why an attempt to download a file ended.
pub(crate) enum FetchError {
    /// The object has changed since the existing parts were downloaded. The download must restart.
    Changed,
    /// The content does not have the expected length or checksum.
    Corrupt(DownloadError),
    Error(DownloadError),
}

impl From<DownloadError> for FetchError {
    fn from(error: DownloadError) -> Self {
        Self::Error(error)
    }
}

/// A response whose body was not read yet.
struct OpenResponse {
    interpretation: TransferResponse,
    response: Response,
    attempts: Attempts,
}

/// The permit for downloading a part or a whole file. It is held from the first request until the content is durable.
type Worker = OwnedSemaphorePermit;

/// A file whose content was downloaded completely, but not yet verified and published.
pub(crate) struct FetchedFile {
    pub(crate) bytes: u64,
    pub(crate) crc32c: Crc32c,
    /// The digest, if the file was downloaded as one stream or existed already.
    pub(crate) digest: Option<Digest>,
    pub(crate) validator: Validator,
    /// The checksum that the storage sent.
    pub(crate) storage_crc32c: Option<Crc32c>,
    /// True if a correct file already exists at the target.
    pub(crate) already_present: bool,
    /// The worker permit of a file that was downloaded as one stream. It is held until the file is published.
    pub(crate) worker: Option<Worker>,
    /// The background digest of a file that was downloaded in several parts.
    pub(crate) background: Option<BackgroundDigest>,
    /// The content of a small file that is not yet on disk.
    pub(crate) unwritten: Option<FileInMemory>,
}

/// A small file that is not yet on disk.
pub(crate) struct FileInMemory {
    pub(crate) object: Object,
    pub(crate) content: CollectedContent,
}

impl FetchedFile {
    fn of(object: &Object, crc32c: Crc32c, digest: Option<Digest>, storage_crc32c: Option<Crc32c>) -> Self {
        let validator = Validator::of(object);
        Self {
            bytes: object.bytes,
            crc32c,
            digest,
            validator,
            storage_crc32c,
            already_present: false,
            worker: None,
            background: None,
            unwritten: None,
        }
    }
}

/// The download of one file.
pub(crate) struct Job<'a> {
    pub(crate) downloader: &'a Downloader,
    pub(crate) shared_url: SharedUrl<'a>,
    pub(crate) expected: Expected,
    pub(crate) part: Arc<PartialFile>,
    pub(crate) target: &'a Target,
    pub(crate) observer: &'a (dyn Fn(Progress) + Sync),
}

impl Job<'_> {
    fn io(&self, error: std::io::Error) -> DownloadError {
        DownloadError::io(&self.target.path(), error)
    }

    /// Downloads the missing parts of the file.
    pub(crate) async fn attempt(&self) -> Result<FetchedFile, FetchError> {
        let (mut known_object, mut pieces) = self.part.object_and_pieces();
        if known_object.as_ref().is_some_and(|object| combined_crc32c(&pieces, object.bytes).is_some()) {
            // Nothing is missing if the existing parts are valid. They are read before any request is sent.
            self.verify_existing().await?;
            (known_object, pieces) = self.part.object_and_pieces();
        }
        let complete_crc32c = known_object.as_ref().and_then(|object| combined_crc32c(&pieces, object.bytes));
        let first_range = match (&known_object, complete_crc32c) {
            (Some(object), Some(crc32c)) if self.expected.crc32c().is_some() => {
                return Ok(FetchedFile::of(object, crc32c, None, None));
            }
            // Without an expected checksum, the existing parts are valid only if the object is unchanged. A request for
            // one byte returns its validators.
            (Some(_), Some(_)) => 0..1,
            _ => first_missing_range(&pieces, self.expected.bytes(), self.downloader.options.chunk),
        };
        let worker = self.acquire_worker().await?;
        if first_range.is_empty() {
            return self.download_whole(None, worker).await;
        }
        let etag = known_object.as_ref().and_then(|object| object.etag.as_deref());
        let open = self.request(Some(first_range.clone()), etag, self.attempts()).await?;
        match open.interpretation.clone() {
            // Without an expected checksum and validators, parts of different objects could be mixed.
            TransferResponse::Partial { range, bytes, validator, .. }
                if self.expected.crc32c().is_none() && validator.is_empty() && (range.end - range.start) < bytes =>
            {
                drop(open);
                self.download_whole(None, worker).await
            }
            TransferResponse::Partial { bytes, validator, storage_crc32c, .. } => {
                let object = self.object(bytes, &validator)?;
                if known_object.is_some_and(|old| old.bytes != bytes || !Validator::of(&old).matches(&validator)) {
                    return Err(FetchError::Changed);
                }
                if let Some(digest) = self.existing_digest(storage_crc32c, bytes).await? {
                    return Ok(FetchedFile {
                        already_present: true,
                        ..FetchedFile::of(&object, digest.crc32c, Some(digest), storage_crc32c)
                    });
                }
                if complete_crc32c.is_none() && pieces.is_empty() && first_range.end >= bytes && self.is_small(bytes) {
                    return self.download_small(object, (open, worker), storage_crc32c).await;
                }
                let (whole_file, background) = match complete_crc32c {
                    None => self.download_parts(&object, first_range, (open, worker), &pieces).await?,
                    Some(_) => (None, None),
                };
                let crc32c = combined_crc32c(&self.part.object_and_pieces().1, bytes).ok_or(FetchError::Changed)?;
                let (digest, worker) = whole_file.unzip();
                Ok(FetchedFile { worker, background, ..FetchedFile::of(&object, crc32c, digest, storage_crc32c) })
            }
            TransferResponse::Whole { .. } => self.download_whole(Some(open), worker).await,
            // The object is empty: a request for its first byte is not satisfiable.
            TransferResponse::Beyond { bytes: Some(0) } if pieces.is_empty() => {
                drop(open);
                self.download_whole(None, worker).await
            }
            _ => Err(FetchError::Changed),
        }
    }

    /// Returns the digest of the file that exists at the target, if it has the checksum that the storage sent. Returns
    /// `None` if the caller expects a checksum, because the existing file was already compared with it.
    async fn existing_digest(&self, storage: Option<Crc32c>, bytes: u64) -> Result<Option<Digest>, FetchError> {
        let Some(crc32c) = storage.filter(|_| self.expected.crc32c().is_none()) else { return Ok(None) };
        let (part, expected) = (self.part.clone(), Expected::new(crc32c).with_bytes(bytes));
        Ok(blocking(move || part.existing_digest(&expected)).await.map_err(|error| self.io(error))?)
    }

    /// Returns the object, or an error if it does not have the expected length.
    fn object(&self, bytes: u64, validator: &Validator) -> Result<Object, FetchError> {
        if let Some(expected) = self.expected.bytes().filter(|expected| *expected != bytes) {
            return Err(FetchError::Corrupt(DownloadError::size(&self.target.path(), expected, bytes)));
        }
        let Validator { etag, generation } = validator.clone();
        Ok(Object { bytes, expected_crc32c: self.expected.crc32c(), etag, generation })
    }

    /// Downloads the missing parts concurrently.
    async fn download_parts(
        &self,
        object: &Object,
        first: Range<u64>,
        open: (OpenResponse, Worker),
        pieces: &[CompletedRange],
    ) -> Result<(Option<(Digest, Worker)>, Option<BackgroundDigest>), FetchError> {
        self.prepare(object).await?;
        let (part, bytes) = (self.part.clone(), object.bytes);
        let is_synced = self.downloader.options.durability == Durability::File;
        let sizes = (bytes, self.downloader.options.chunk);
        let running = self.downloader.options.sha256.then(|| part.new_digest());
        let background =
            BackgroundDigest::start_if_large(|| part.try_clone_file(), part.path(), sizes, running, is_synced);
        let mut background = background.map_err(|error| self.io(error))?;
        let first = first.start..first.end.min(bytes);
        let mut rest = missing_ranges(pieces, bytes, self.downloader.options.chunk);
        rest.retain(|part| part.start >= first.end || part.end <= first.start);
        let requests = self.fetch_parts(object, Some((first, open)), rest, &mut background);
        // A read error is reported only after the requests, so that it does not interrupt them.
        let (mut whole_file, verification) = tokio::try_join!(requests, async { Ok(self.verify_existing().await) })?;
        verification?;
        // These parts of an earlier download have a wrong checksum.
        let corrupt = missing_ranges(&self.part.object_and_pieces().1, bytes, self.downloader.options.chunk);
        if !corrupt.is_empty() {
            whole_file = whole_file.or(self.fetch_parts(object, None, corrupt, &mut background).await?);
        }
        Ok((whole_file, background))
    }

    /// Fetches several parts at a time: the part `first`, whose response is open, and the `rest`.
    async fn fetch_parts(
        &self,
        object: &Object,
        first: Option<(Range<u64>, (OpenResponse, Worker))>,
        rest: Vec<Range<u64>>,
        background: &mut Option<BackgroundDigest>,
    ) -> Result<Option<(Digest, Worker)>, FetchError> {
        let first = first.into_iter().map(|(part, open)| (part, Some(open)));
        let parts = first.chain(rest.into_iter().map(|part| (part, None)));
        let outcomes = stream::iter(parts).map(|(part, open)| self.download_part(object, part, open));
        let outcomes = outcomes.buffer_unordered(self.downloader.options.workers);
        let mut outcomes = std::pin::pin!(outcomes);
        let (mut whole_file, mut failure) = (None, None);
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(digest) => whole_file = whole_file.or(digest),
                // The other parts are still downloaded, so that the next attempt need not download them.
                Err(FetchError::Error(error)) if error.is_transient() => failure = failure.or(Some(error)),
                Err(error) => return Err(error),
            }
            *background = background.take().map(|background| background.advance_to(self.part.contiguous_end()));
        }
        failure.map_or(Ok(whole_file), |error| Err(error.into()))
    }

    /// Verifies the parts of an earlier download, several at a time. After an error, the other parts are still read.
    async fn verify_existing(&self) -> Result<(), DownloadError> {
        let concurrency = available_parallelism().map_or(1, usize::from);
        let checks = stream::iter(self.part.unread()).map(|(epoch, piece)| async move {
            let part = self.part.clone();
            let is_correct = blocking(move || Ok(part.verify_piece(epoch, &piece))).await;
            (piece, is_correct.unwrap_or_else(|error| Err(self.io(error))))
        });
        let mut checks = std::pin::pin!(checks.buffer_unordered(concurrency));
        let mut failure = None;
        while let Some((piece, is_correct)) = checks.next().await {
            match is_correct {
                Ok(true) => {}
                Ok(false) => (self.observer)(Progress::Lost(piece.bytes)),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Downloads a range, and resumes after failures. `response` is an open response for it. Returns the digest if the
    /// range is the whole file.
    async fn download_part(
        &self,
        object: &Object,
        requested: Range<u64>,
        response: Option<(OpenResponse, Worker)>,
    ) -> Result<Option<(Digest, Worker)>, FetchError> {
        let is_whole = requested == (0..object.bytes);
        let mut writer = Writer::new(self.part.clone(), requested.start, is_whole);
        let worker = self.fill(&mut writer, object, requested, response).await?;
        Ok(self.record(writer).await?.map(|digest| (digest, worker)))
    }

    /// Receives the range `requested` into `writer`, and resumes after failures. `response` is an open response for it.
    async fn fill(
        &self,
        writer: &mut Writer,
        object: &Object,
        requested: Range<u64>,
        response: Option<(OpenResponse, Worker)>,
    ) -> Result<Worker, FetchError> {
        let request_from =
            async |offset, attempts| self.request(Some(offset..requested.end), object.etag.as_deref(), attempts).await;
        let (mut open, worker) = if let Some(response) = response {
            response
        } else {
            let worker = self.acquire_worker().await?;
            (request_from(requested.start, self.attempts()).await?, worker)
        };
        loop {
            let TransferResponse::Partial { range, bytes, validator, .. } = &open.interpretation else {
                return Err(FetchError::Changed);
            };
            if *bytes != object.bytes || !Validator::of(object).matches(validator) {
                return Err(FetchError::Changed);
            }
            let (start, end) = (writer.offset(), range.end.min(requested.end));
            let outcome = self.receive(&mut open, writer, Some(end)).await;
            let OpenResponse { mut attempts, response, .. } = open;
            drop(response);
            if writer.offset() - start >= READ_BUFFER_BYTES as u64 {
                attempts.record_progress();
            }
            check_retry(outcome, &mut attempts)?;
            if writer.offset() >= requested.end {
                return Ok(worker);
            }
            open = request_from(writer.offset(), attempts).await?;
        }
    }

    /// Downloads a file as one stream. After each failure, the download starts again.
    async fn download_whole(&self, open: Option<OpenResponse>, worker: Worker) -> Result<FetchedFile, FetchError> {
        let mut open = match open {
            Some(open) => open,
            None => self.request(None, None, self.attempts()).await?,
        };
        loop {
            let TransferResponse::Whole { bytes, validator, storage_crc32c } = open.interpretation.clone() else {
                return Err(FetchError::Changed);
            };
            let is_small = bytes.is_some_and(|bytes| self.is_small(bytes));
            let mut writer = if is_small {
                self.small_writer().await?
            } else {
                self.discard_content().await?;
                if let Some(bytes) = bytes {
                    self.prepare(&self.object(bytes, &validator)?).await?;
                }
                Writer::new(self.part.clone(), 0, true)
            };
            let outcome = self.receive(&mut open, &mut writer, bytes).await;
            let OpenResponse { mut attempts, response, .. } = open;
            drop(response);
            let is_complete = outcome.is_ok();
            check_retry(outcome, &mut attempts)?;
            if is_complete {
                let object = self.object(writer.offset(), &validator)?;
                if is_small {
                    return Ok(FetchedFile::in_memory(object, writer, worker, storage_crc32c));
                }
                self.prepare(&object).await?;
                let digest = self.record(writer).await?;
                let crc32c = digest.map_or_else(Crc32c::default, |digest| digest.crc32c);
                let fetched_file = FetchedFile::of(&object, crc32c, digest, storage_crc32c);
                return Ok(FetchedFile { worker: Some(worker), ..fetched_file });
            }
            open = self.request(None, None, attempts).await?;
        }
    }

    /// Waits for a worker permit.
    async fn acquire_worker(&self) -> Result<Worker, DownloadError> {
        let worker = self.downloader.workers.clone().acquire_owned().await;
        worker.map_err(|_| self.io(std::io::Error::other("the downloader has ended")))
    }

    async fn prepare(&self, object: &Object) -> Result<(), DownloadError> {
        let (part, object) = (self.part.clone(), object.clone());
        blocking(move || Ok(part.prepare(&object))).await.map_err(|error| self.io(error))?
    }

    fn attempts(&self) -> Attempts {
        Attempts::begin(&self.downloader.http, &self.downloader.options.retry)
    }

    async fn record(&self, writer: Writer) -> Result<Option<Digest>, FetchError> {
        let (part, epoch) = (self.part.clone(), writer.epoch());
        let (piece, digest) = writer.finish().await.map_err(|error| self.io(error))?;
        blocking(move || part.record(epoch, piece)).await.map_err(|error| self.io(error))?;
        (self.observer)(Progress::Durable(piece.bytes));
        Ok(digest)
    }

    /// Discards all content, because the download restarts.
    pub(crate) async fn discard_content(&self) -> Result<(), DownloadError> {
        let lost_bytes: u64 = self.part.object_and_pieces().1.iter().map(|piece| piece.bytes).sum();
        let part = self.part.clone();
        blocking(move || part.reset()).await.map_err(|error| self.io(error))?;
        if lost_bytes > 0 {
            (self.observer)(Progress::Lost(lost_bytes));
        }
        Ok(())
    }
}
