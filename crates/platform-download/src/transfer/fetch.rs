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
use crate::transfer::collected::Collected;
use crate::transfer::downloader::Downloader;
use crate::transfer::durability::Durability;
use crate::transfer::partial_file::{Object, PartialFile};
use crate::transfer::plan::{CompletedRange, combined, first_missing, missing};
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
    interpreted: TransferResponse,
    response: Response,
    attempts: Attempts,
}

/// The permit of a worker for a part or a whole file. It is held from the first request until the content is durable.
type Worker = OwnedSemaphorePermit;

/// A file whose content was downloaded completely, but not yet verified and published.
pub(crate) struct FetchedFile {
    pub(crate) bytes: u64,
    pub(crate) crc32c: Crc32c,
    /// The digest, if the file was downloaded as one stream or existed already.
    pub(crate) digest: Option<Digest>,
    pub(crate) validator: Validator,
    /// The checksum that the storage sent.
    pub(crate) stated: Option<Crc32c>,
    /// True if the correct file already exists at the target.
    pub(crate) already_present: bool,
    /// The worker permit of a file that was downloaded as one stream. It is held until the file is published.
    pub(crate) worker: Option<Worker>,
    /// The background digest of a file that was downloaded in several parts.
    pub(crate) background: Option<BackgroundDigest>,
    /// The content of a small file that is not yet on disk.
    pub(crate) unwritten: Option<Unwritten>,
}

/// A small file that is not yet on disk.
pub(crate) struct Unwritten {
    pub(crate) object: Object,
    pub(crate) content: Collected,
}

impl FetchedFile {
    fn of(object: &Object, crc32c: Crc32c, digest: Option<Digest>, stated: Option<Crc32c>) -> Self {
        let validator = Validator::of(object);
        Self {
            bytes: object.bytes,
            crc32c,
            digest,
            validator,
            stated,
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
        let (mut known, mut pieces) = self.part.object_and_pieces();
        if known.as_ref().is_some_and(|object| combined(&pieces, object.bytes).is_some()) {
            // If the existing parts are valid, nothing is missing. They are read before any request is sent.
            self.read_all().await?;
            (known, pieces) = self.part.object_and_pieces();
        }
        let all = known.as_ref().and_then(|object| combined(&pieces, object.bytes));
        let first = match (&known, all) {
            (Some(object), Some(crc32c)) if self.expected.crc32c().is_some() => {
                return Ok(FetchedFile::of(object, crc32c, None, None));
            }
            // Without an expected checksum, the existing parts are valid only if the object is unchanged. A request for
            // one byte returns its validators.
            (Some(_), Some(_)) => 0..1,
            _ => first_missing(&pieces, self.expected.bytes(), self.downloader.options.chunk),
        };
        let worker = self.worker().await?;
        if first.is_empty() {
            return self.download_whole(None, worker).await;
        }
        let etag = known.as_ref().and_then(|object| object.etag.as_deref());
        let open = self.request(Some(first.clone()), etag, self.attempts()).await?;
        match open.interpreted.clone() {
            // Without an expected checksum and validators, parts of different objects could be mixed.
            TransferResponse::Partial { range, bytes, validator, .. }
                if self.expected.crc32c().is_none() && validator.is_empty() && (range.end - range.start) < bytes =>
            {
                drop(open);
                self.download_whole(None, worker).await
            }
            TransferResponse::Partial { bytes, validator, stated, .. } => {
                let object = self.object(bytes, &validator)?;
                if known.is_some_and(|known| known.bytes != bytes || !Validator::of(&known).matches(&validator)) {
                    return Err(FetchError::Changed);
                }
                if let Some(found) = self.existing_digest(stated, bytes).await? {
                    return Ok(FetchedFile {
                        already_present: true,
                        ..FetchedFile::of(&object, found.crc32c, Some(found), stated)
                    });
                }
                if all.is_none() && pieces.is_empty() && first.end >= bytes && self.is_small(bytes) {
                    return self.small(object, (open, worker), stated).await;
                }
                let (whole, background) = match all {
                    None => self.parts(&object, first, (open, worker), &pieces).await?,
                    Some(_) => (None, None),
                };
                let crc32c = combined(&self.part.object_and_pieces().1, bytes).ok_or(FetchError::Changed)?;
                let (digest, worker) = whole.unzip();
                Ok(FetchedFile { worker, background, ..FetchedFile::of(&object, crc32c, digest, stated) })
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

    /// Returns the digest of the file that exists at the target, if it has the checksum `stated` by the storage.
    /// Returns `None` if the caller expects a checksum, because the existing file was compared with it before.
    async fn existing_digest(&self, stated: Option<Crc32c>, bytes: u64) -> Result<Option<Digest>, FetchError> {
        let Some(stated) = stated.filter(|_| self.expected.crc32c().is_none()) else { return Ok(None) };
        let (part, expected) = (self.part.clone(), Expected::new(stated).with_bytes(bytes));
        Ok(blocking(move || part.existing_digest(&expected)).await.map_err(|error| self.io(error))?)
    }

    /// Returns the object, or an error if it does not have the expected length.
    fn object(&self, bytes: u64, validator: &Validator) -> Result<Object, FetchError> {
        if let Some(stated) = self.expected.bytes().filter(|stated| *stated != bytes) {
            return Err(FetchError::Corrupt(DownloadError::size(&self.target.path(), stated, bytes)));
        }
        let Validator { etag, generation } = validator.clone();
        Ok(Object { bytes, stated: self.expected.crc32c(), etag, generation })
    }

    /// Downloads the missing parts concurrently.
    async fn parts(
        &self,
        object: &Object,
        first: Range<u64>,
        open: (OpenResponse, Worker),
        pieces: &[CompletedRange],
    ) -> Result<(Option<(Digest, Worker)>, Option<BackgroundDigest>), FetchError> {
        self.begin(object).await?;
        let (part, bytes) = (self.part.clone(), object.bytes);
        let is_synced = self.downloader.options.durability == Durability::File;
        let sizes = (bytes, self.downloader.options.chunk);
        let running = self.downloader.options.sha256.then(|| part.new_digest());
        let background =
            BackgroundDigest::start_if_large(|| part.try_clone_file(), part.path(), sizes, running, is_synced);
        let mut background = background.map_err(|error| self.io(error))?;
        let first = first.start..first.end.min(bytes);
        let mut rest = missing(pieces, bytes, self.downloader.options.chunk);
        rest.retain(|part| part.start >= first.end || part.end <= first.start);
        let fetching = self.fetch(object, Some((first, open)), rest, &mut background);
        // A read error is reported after the requests, so that it does not interrupt them.
        let (mut whole, read) = tokio::try_join!(fetching, async { Ok(self.read_all().await) })?;
        read?;
        // Parts of an earlier download whose checksum is wrong.
        let changed = missing(&self.part.object_and_pieces().1, bytes, self.downloader.options.chunk);
        if !changed.is_empty() {
            whole = whole.or(self.fetch(object, None, changed, &mut background).await?);
        }
        Ok((whole, background))
    }

    /// Fetches several parts at a time: the one of `begun`, whose response is open, and the `rest`.
    async fn fetch(
        &self,
        object: &Object,
        begun: Option<(Range<u64>, (OpenResponse, Worker))>,
        rest: Vec<Range<u64>>,
        background: &mut Option<BackgroundDigest>,
    ) -> Result<Option<(Digest, Worker)>, FetchError> {
        let begun = begun.into_iter().map(|(part, open)| (part, Some(open)));
        let parts = begun.chain(rest.into_iter().map(|part| (part, None)));
        let fetching = stream::iter(parts).map(|(part, open)| self.part(object, part, open));
        let fetching = fetching.buffer_unordered(self.downloader.options.workers);
        let mut fetching = std::pin::pin!(fetching);
        let (mut whole, mut failure) = (None, None);
        while let Some(outcome) = fetching.next().await {
            match outcome {
                Ok(other) => whole = whole.or(other),
                // The other parts are still downloaded, so that the next attempt does not need them.
                Err(FetchError::Error(error)) if error.is_transient() => failure = failure.or(Some(error)),
                Err(fail) => return Err(fail),
            }
            *background = background.take().map(|background| background.reached(self.part.reached()));
        }
        failure.map_or(Ok(whole), |error| Err(error.into()))
    }

    /// Reads and checks the parts of an earlier download, several at a time. After an error, the others are still read.
    async fn read_all(&self) -> Result<(), DownloadError> {
        let at_once = available_parallelism().map_or(1, usize::from);
        let reading = stream::iter(self.part.unread()).map(|(epoch, piece)| async move {
            let part = self.part.clone();
            let read = blocking(move || Ok(part.verify_piece(epoch, &piece))).await;
            (piece, read.unwrap_or_else(|error| Err(self.io(error))))
        });
        let mut reading = std::pin::pin!(reading.buffer_unordered(at_once));
        let mut failure = None;
        while let Some((piece, is_right)) = reading.next().await {
            match is_right {
                Ok(true) => {}
                Ok(false) => (self.observer)(Progress::Lost(piece.bytes)),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Downloads the range `wanted`, and resumes after failures. Returns the digest if the range is the whole file.
    async fn part(
        &self,
        object: &Object,
        wanted: Range<u64>,
        begun: Option<(OpenResponse, Worker)>,
    ) -> Result<Option<(Digest, Worker)>, FetchError> {
        let all = wanted == (0..object.bytes);
        let mut writer = Writer::new(self.part.clone(), wanted.start, all);
        let worker = self.fill(&mut writer, object, wanted, begun).await?;
        Ok(self.record(writer).await?.map(|digest| (digest, worker)))
    }

    /// Writes the range `wanted`, and resumes after failures. `begun` is an open response for it.
    async fn fill(
        &self,
        writer: &mut Writer,
        object: &Object,
        wanted: Range<u64>,
        begun: Option<(OpenResponse, Worker)>,
    ) -> Result<Worker, FetchError> {
        let request_from =
            async |at, attempts| self.request(Some(at..wanted.end), object.etag.as_deref(), attempts).await;
        let (mut open, worker) = if let Some(begun) = begun {
            begun
        } else {
            let worker = self.worker().await?;
            (request_from(wanted.start, self.attempts()).await?, worker)
        };
        loop {
            let TransferResponse::Partial { range, bytes, validator, .. } = &open.interpreted else {
                return Err(FetchError::Changed);
            };
            if *bytes != object.bytes || !Validator::of(object).matches(validator) {
                return Err(FetchError::Changed);
            }
            let (before, end) = (writer.at(), range.end.min(wanted.end));
            let outcome = self.receive(&mut open, writer, Some(end)).await;
            let OpenResponse { mut attempts, response, .. } = open;
            drop(response);
            if writer.at() - before >= READ_BUFFER_BYTES as u64 {
                attempts.progressed();
            }
            check_retry(outcome, &mut attempts)?;
            if writer.at() >= wanted.end {
                return Ok(worker);
            }
            open = request_from(writer.at(), attempts).await?;
        }
    }

    /// Downloads a file as one stream. After each failure, it starts again.
    async fn download_whole(&self, open: Option<OpenResponse>, worker: Worker) -> Result<FetchedFile, FetchError> {
        let mut open = match open {
            Some(open) => open,
            None => self.request(None, None, self.attempts()).await?,
        };
        loop {
            let TransferResponse::Whole { bytes, validator, stated } = open.interpreted.clone() else {
                return Err(FetchError::Changed);
            };
            let is_small = bytes.is_some_and(|bytes| self.is_small(bytes));
            let mut writer = if is_small {
                self.begin_small().await?
            } else {
                self.forget().await?;
                if let Some(bytes) = bytes {
                    self.begin(&self.object(bytes, &validator)?).await?;
                }
                Writer::new(self.part.clone(), 0, true)
            };
            let outcome = self.receive(&mut open, &mut writer, bytes).await;
            let OpenResponse { mut attempts, response, .. } = open;
            drop(response);
            let complete = outcome.is_ok();
            check_retry(outcome, &mut attempts)?;
            if complete {
                let object = self.object(writer.at(), &validator)?;
                if is_small {
                    return Ok(FetchedFile::unwritten(object, writer, worker, stated));
                }
                self.begin(&object).await?;
                let digest = self.record(writer).await?;
                let crc32c = digest.map_or_else(Crc32c::default, |digest| digest.crc32c);
                return Ok(FetchedFile { worker: Some(worker), ..FetchedFile::of(&object, crc32c, digest, stated) });
            }
            open = self.request(None, None, attempts).await?;
        }
    }

    /// Waits for a worker permit.
    async fn worker(&self) -> Result<Worker, DownloadError> {
        let worker = self.downloader.workers.clone().acquire_owned().await;
        worker.map_err(|_| self.io(std::io::Error::other("the downloader has ended")))
    }

    async fn begin(&self, object: &Object) -> Result<(), DownloadError> {
        let (part, object) = (self.part.clone(), object.clone());
        blocking(move || Ok(part.begin(&object))).await.map_err(|error| self.io(error))?
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
    pub(crate) async fn forget(&self) -> Result<(), DownloadError> {
        let lost: u64 = self.part.object_and_pieces().1.iter().map(|piece| piece.bytes).sum();
        let part = self.part.clone();
        blocking(move || part.reset()).await.map_err(|error| self.io(error))?;
        if lost > 0 {
            (self.observer)(Progress::Lost(lost));
        }
        Ok(())
    }
}
