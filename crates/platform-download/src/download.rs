use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use auth_core::Backoff;
use auth_http::HttpClient;
use durable_fs::Locking;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::answer::Validator;
use crate::digest::{Digest, Running};
use crate::fetch::{Complete, Fail, Job};
use crate::part::{Opened, Part};
use crate::retry::{MinimumRate, for_transfers};
use crate::source::Link;
use crate::{Crc32c, DownloadError, Expected, Progress, RetryPolicy, Sha256, Source, Target};

/// How many requests can go on at a time.
const WORKERS: RangeInclusive<usize> = 1..=256;
/// The length of the parts of large files, in bytes.
const CHUNKS: RangeInclusive<u64> = 64 * 1024..=1 << 30;
/// The blocks that are written at once, in bytes: the processor's caches hold the largest.
const BLOCKS: RangeInclusive<u64> = 64 * 1024..=1024 * 1024;
/// So long a block may take to be written that nobody waits for any more.
const LAST_BLOCK: Duration = Duration::from_millis(500);
/// A file that is replaced in the storage while it is fetched is begun anew so often.
const RESTARTS: u32 = 3;

/// How a file came to be there, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// The length of the file.
    pub bytes: u64,
    /// Its checksum, as computed.
    pub crc32c: Crc32c,
    /// Its digest, as computed.
    pub sha256: Sha256,
    /// What the checksum was compared with.
    pub verification: Verification,
    /// It was there already, as it must be, and was not fetched.
    pub was_there: bool,
    /// The entity tag of the object (RFC 9110, section 8.8.3), if it was fetched and has one.
    pub etag: Option<String>,
    /// The generation of the object, as Google's storage counts them, if it was fetched and has one.
    pub generation: Option<String>,
}

/// What the checksum of a file was compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verification {
    /// With the one that was stated before.
    Stated,
    /// With the one that the storage stated, as no other is known: the file is what is stored.
    Storage,
    /// With nothing, as none is known: the file arrived whole, if the storage said how long it is.
    Unverified,
}

/// Fetches files, and lets them appear under their names only when they are complete and verified. Clones share their
/// limits.
#[derive(Clone, Debug)]
pub struct Downloader {
    pub(crate) http: HttpClient,
    pub(crate) workers: Arc<Semaphore>,
    pub(crate) options: Options,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) workers: usize,
    pub(crate) chunk: u64,
    pub(crate) block: u64,
    pub(crate) retry: RetryPolicy,
    pub(crate) rate: MinimumRate,
    pub(crate) locking: Locking,
}

/// Sets up a [`Downloader`].
#[derive(Clone, Debug)]
pub struct DownloaderBuilder {
    http: HttpClient,
    workers: usize,
    chunk: u64,
    memory: u64,
    retry: RetryPolicy,
    rate: MinimumRate,
    locking: Locking,
}

/// A [`Downloader`] cannot be set up so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DownloaderError {
    /// There are too many workers, or none.
    #[error("there must be 1 to 256 workers, not {0}")]
    Workers(usize),
    /// The parts are too small or too large.
    #[error("the parts of large files must have 64 KiB to 1 GiB, not {0} bytes")]
    Chunk(u64),
    /// The memory does not suffice.
    #[error("{workers} workers need at least {} bytes of memory, not {memory}", least(*workers))]
    Memory {
        /// The memory, in bytes.
        memory: u64,
        /// How many workers share it.
        workers: usize,
    },
}

/// Each worker receives one block while another is written.
fn least(workers: usize) -> u64 {
    2 * BLOCKS.start() * workers as u64
}

impl Downloader {
    /// A downloader over `http`, which must not decompress: with 16 workers, parts of 8 MiB and 16 MiB of memory.
    pub fn new(http: HttpClient) -> Self {
        Self::builder(http).finish()
    }

    /// Starts to set up a downloader over `http`, which must not decompress: checksums are those of the stored bytes.
    pub fn builder(http: HttpClient) -> DownloaderBuilder {
        DownloaderBuilder {
            http,
            workers: 16,
            chunk: 8 << 20,
            memory: 16 << 20,
            retry: for_transfers(),
            rate: MinimumRate::default(),
            locking: Locking::default(),
        }
    }

    /// The same downloader, with the same workers, and other [retries](DownloaderBuilder::with_retries).
    #[must_use]
    pub fn with_retry_policy(mut self, policy: RetryPolicy) -> Self {
        self.options.retry = policy;
        self
    }

    /// The same downloader, with the same workers, and other [locks](DownloaderBuilder::with_locking).
    #[must_use]
    pub fn with_locking(mut self, locking: Locking) -> Self {
        self.options.locking = locking;
        self
    }

    /// Returns the policy for transient failures.
    pub fn retry_policy(&self) -> &RetryPolicy {
        &self.options.retry
    }

    /// What it fetches with.
    pub fn http(&self) -> &HttpClient {
        &self.http
    }

    /// How many requests can go on at a time.
    pub fn workers(&self) -> usize {
        self.options.workers
    }

    /// Fetches a file to `target`, unless it is there already. Folders are created as needed; `observer` hears of what
    /// happens.
    ///
    /// A large file is fetched in several parts at a time, if the storage can send parts. Dropped, it can be called again
    /// and goes on with the parts that are complete; a process that was killed goes on in the same way.
    ///
    /// # Errors
    ///
    /// [`DownloadError`]: the file could not be had, written or verified. Whatever was under its name before is still
    /// there then.
    pub async fn fetch(
        &self,
        source: &dyn Source,
        expected: Expected,
        target: &Target,
        observer: &(dyn Fn(Progress) + Sync),
    ) -> Result<Outcome, DownloadError> {
        for _ in 0..=RESTARTS {
            if let Some(outcome) = self.fetch_once(source, expected, target, observer).await? {
                return Ok(outcome);
            }
        }
        Err(DownloadError::interfered(&target.path()))
    }

    /// `None` if another process has put something else in the place of what was downloaded.
    async fn fetch_once(
        &self,
        source: &dyn Source,
        expected: Expected,
        target: &Target,
        observer: &(dyn Fn(Progress) + Sync),
    ) -> Result<Option<Outcome>, DownloadError> {
        let failed = |error| DownloadError::io(&target.path(), error);
        let part: Arc<Part> = match open(target, expected, self.options.locking).await? {
            Opened::There(digest) => {
                observer(Progress::Kept(digest.bytes));
                return Ok(Some(Outcome::there(digest, Verification::Stated)));
            }
            Opened::Part(part) => Arc::from(part),
        };
        let kept: u64 = part.known().1.iter().map(|piece| piece.bytes).sum();
        if kept > 0 {
            observer(Progress::Kept(kept));
        }
        let link = Link::new(source);
        let job = Job { downloader: self, link, expected, part: part.clone(), target, observer };
        let mut complete = obtain(&job).await?;
        let verification = match (expected.crc32c(), complete.stated) {
            (Some(_), _) => Verification::Stated,
            (None, Some(_)) => Verification::Storage,
            (None, None) => Verification::Unverified,
        };
        if let (true, Some(digest)) = (complete.was_there, complete.digest) {
            blocking(move || part.discard()).await.map_err(failed)?;
            observer(Progress::Kept(digest.bytes));
            return Ok(Some(Outcome::there(digest, verification)));
        }
        let bytes = complete.bytes;
        let Some(digest) = publish(part, &mut complete).await.map_err(failed)? else {
            observer(Progress::Lost(bytes));
            return Ok(None);
        };
        let Complete { validator: Validator { etag, generation }, worker, .. } = complete;
        drop(worker);
        Ok(Some(Outcome { was_there: false, etag, generation, ..Outcome::there(digest, verification) }))
    }
}

/// Looks at what is there. Whoever gave up a download of the same file right before may still be writing its last block.
async fn open(target: &Target, expected: Expected, locking: Locking) -> Result<Opened, DownloadError> {
    let pauses = (1..5).map(|attempt| Backoff::new(LAST_BLOCK / 10, LAST_BLOCK).bound(attempt));
    for pause in pauses {
        let place = target.clone();
        let opened = blocking(move || Ok(Part::open(&place, &expected, locking))).await;
        match opened.map_err(|error| DownloadError::io(&target.path(), error))? {
            Err(error) if error.is_locked() => wait(pause).await,
            opened => return opened,
        }
    }
    Err(DownloadError::locked(&target.path()))
}

#[expect(clippy::disallowed_methods, reason = "a file lock does not notify: polling is the protocol")]
async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}

/// Fetches until all is there and is what it should be. What is not is fetched once more, all of it.
async fn obtain(job: &Job<'_>) -> Result<Complete, DownloadError> {
    let Job { target, expected, part, .. } = job;
    let (mut restarts, mut corrupt) = (0, false);
    loop {
        let error = match job.attempt().await {
            Ok(complete) => match expected.crc32c().or(complete.stated) {
                Some(crc32c) if crc32c != complete.crc32c => {
                    DownloadError::checksum(&target.path(), crc32c, complete.crc32c)
                }
                _ => return Ok(complete),
            },
            Err(Fail::Changed) if restarts == RESTARTS => return Err(DownloadError::changed(&target.path())),
            Err(Fail::Changed) => {
                restarts += 1;
                tracing::debug!(file = %target.path().display(), "the object has changed: begun anew");
                job.forget().await?;
                continue;
            }
            Err(Fail::Corrupt(error)) => error,
            Err(Fail::Error(error)) => return Err(error),
        };
        tracing::warn!(%error, again = !corrupt, "what came is not what was stated");
        if corrupt {
            let part = part.clone();
            let aside = blocking(move || part.quarantine()).await;
            return Err(error.kept_aside(aside.map_err(|error| DownloadError::io(&target.path(), error))?));
        }
        corrupt = true;
        job.forget().await?;
    }
}

/// Makes the file last and gives it its name; what it is, or `None` if another process has replaced it.
async fn publish(part: Arc<Part>, complete: &mut Complete) -> io::Result<Option<Digest>> {
    let (synced, read) = (part.clone(), part.clone());
    let (identity, digest) = if let Some(digest) = complete.digest {
        let identity = blocking(move || {
            let identity = synced.identity()?;
            synced.sync()?;
            Ok(identity)
        });
        (identity.await?, digest)
    } else {
        // It came in several parts. While the disk is busy, the processor is not.
        let identity = part.identity()?;
        let ahead = complete.ahead.take();
        let digest = async {
            let begun = match ahead {
                Some(ahead) => ahead.finish().await?,
                None => Running::default(),
            };
            blocking(move || read.digest(begun)).await
        };
        (identity, tokio::try_join!(blocking(move || synced.sync()), digest)?.1)
    };
    if (digest.bytes, digest.crc32c) != (complete.bytes, complete.crc32c) {
        return Err(io::Error::other("the disk returns other bytes than were written"));
    }
    Ok(blocking(move || part.publish(&identity, &digest)).await?.then_some(digest))
}

impl Outcome {
    fn there(digest: Digest, verification: Verification) -> Self {
        let Digest { bytes, crc32c, sha256 } = digest;
        Self { bytes, crc32c, sha256, verification, was_there: true, etag: None, generation: None }
    }
}

impl DownloaderBuilder {
    /// How many requests go on at a time, for all files together: 1 to 256.
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// The length in bytes of the parts that large files are fetched in: 64 KiB to 1 GiB. A process that is killed has no
    /// more than one such part per worker to fetch again.
    pub fn with_chunk(mut self, bytes: u64) -> Self {
        self.chunk = bytes;
        self
    }

    /// So many bytes of files are in memory at most, whatever their size; at least 128 KiB for each worker.
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Sets how long transient failures are retried: 30 minutes by default. A part that has got further begins anew.
    pub fn with_retries(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// A connection on which fewer bytes come than this in `window`, while they are waited for, is given up, and another
    /// one tried: 20 KiB in 20 s unless something is said.
    pub fn with_minimum_rate(mut self, bytes: u64, window: Duration) -> Self {
        self.rate = MinimumRate { bytes, window };
        self
    }

    /// Sets how files are locked against other processes. By the kernel, or by a lease where it cannot, by default.
    pub fn with_locking(mut self, locking: Locking) -> Self {
        self.locking = locking;
        self
    }

    /// The downloader.
    ///
    /// # Errors
    ///
    /// [`DownloaderError`]: a number is out of its range.
    pub fn build(self) -> Result<Downloader, DownloaderError> {
        let Self { workers, chunk, memory, .. } = self;
        if !WORKERS.contains(&workers) {
            return Err(DownloaderError::Workers(workers));
        }
        if !CHUNKS.contains(&chunk) {
            return Err(DownloaderError::Chunk(chunk));
        }
        if memory < least(workers) {
            return Err(DownloaderError::Memory { memory, workers });
        }
        Ok(self.finish())
    }

    fn finish(self) -> Downloader {
        let Self { http, workers, chunk, memory, retry, rate, locking } = self;
        let block = (memory / 2 / workers as u64).min(*BLOCKS.end());
        let options = Options { workers, chunk, block, retry, rate, locking };
        Downloader { http, workers: Arc::new(Semaphore::new(workers)), options }
    }
}

/// Runs what blocks where it does not hold up others.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
