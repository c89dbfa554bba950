use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use auth_http::HttpClient;
use durable_fs::Locking;
use tokio::sync::Semaphore;

use crate::rate_limit::RateLimit;
use crate::retry::{MinimumRate, RetryPolicy, for_transfers};
use crate::transfer::durability::{Batches, Durability};

/// The permitted number of concurrent requests.
const WORKER_RANGE: RangeInclusive<usize> = 1..=256;
/// The permitted length of the parts of large files, in bytes.
const CHUNK_RANGE: RangeInclusive<u64> = 64 * 1024..=1 << 30;
/// The permitted size of the blocks that are written, in bytes. A block of the maximum size fits into the processor
/// caches.
const BLOCK_RANGE: RangeInclusive<u64> = 64 * 1024..=1024 * 1024;

/// A downloader of files. A file appears under its final name only when it is complete and verified. Clones share the
/// limits of workers and rate. The [crate documentation](crate) has an example.
#[derive(Clone, Debug)]
pub struct Downloader {
    pub(crate) http: HttpClient,
    pub(crate) workers: Arc<Semaphore>,
    pub(crate) options: Options,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) durability: Durability,
    pub(crate) batches: Arc<Batches>,
    pub(crate) workers: usize,
    pub(crate) chunk: u64,
    pub(crate) block: u64,
    pub(crate) retry: RetryPolicy,
    pub(crate) rate: MinimumRate,
    pub(crate) locking: Locking,
    /// True if the SHA-256 of each file is computed.
    pub(crate) sha256: bool,
    pub(crate) rate_limit: Option<RateLimit>,
}

/// A builder for [`Downloader`].
#[derive(Clone, Debug)]
pub struct DownloaderBuilder {
    http: HttpClient,
    workers: usize,
    chunk: u64,
    memory: u64,
    retry: RetryPolicy,
    rate: MinimumRate,
    locking: Locking,
    sha256: bool,
    rate_limit: Option<RateLimit>,
    durability: Durability,
}

/// The error of an invalid [`Downloader`] configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DownloaderError {
    /// The number of workers is out of range.
    #[error("there must be 1 to 256 workers, not {0}")]
    Workers(usize),
    /// The part length is out of range.
    #[error("the parts of large files must have 64 KiB to 1 GiB, not {0} bytes")]
    Chunk(u64),
    /// The memory limit is too low.
    #[error("{workers} workers need at least {} bytes of memory, not {memory}", min_memory(*workers))]
    Memory {
        /// The memory limit, in bytes.
        memory: u64,
        /// The number of workers that share it.
        workers: usize,
    },
}

/// Returns the minimum memory in bytes for this number of workers. Each worker needs two blocks, because it receives
/// one while it writes the other.
fn min_memory(workers: usize) -> u64 {
    (2 * BLOCK_RANGE.start()).saturating_mul(workers as u64)
}

impl Downloader {
    /// Creates a downloader with 16 workers, parts of 8 MiB and 16 MiB of memory. `http` must not decompress responses,
    /// because checksums are those of the stored bytes.
    pub fn new(http: HttpClient) -> Self {
        Self::builder(http).finish()
    }

    /// Returns a builder for a downloader. `http` must not decompress responses, because checksums are those of the
    /// stored bytes.
    pub fn builder(http: HttpClient) -> DownloaderBuilder {
        DownloaderBuilder {
            http,
            workers: 16,
            chunk: 8 << 20,
            memory: 16 << 20,
            retry: for_transfers(),
            rate: MinimumRate::default(),
            locking: Locking::default(),
            sha256: true,
            rate_limit: None,
            durability: Durability::default(),
        }
    }

    /// Returns a downloader that shares the limits and has another policy for
    /// [retries](DownloaderBuilder::with_retries).
    #[must_use]
    pub fn with_retry_policy(mut self, policy: RetryPolicy) -> Self {
        self.options.retry = policy;
        self
    }

    /// Returns a downloader that shares the limits and has another kind of [lock](DownloaderBuilder::with_locking).
    #[must_use]
    pub fn with_locking(mut self, locking: Locking) -> Self {
        self.options.locking = locking;
        self
    }

    /// Returns a downloader that shares the limits and has another [durability](DownloaderBuilder::with_durability).
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.options.durability = durability;
        self
    }

    /// Returns a downloader that shares the limits and does or does not compute the
    /// [SHA-256](DownloaderBuilder::with_sha256) of files.
    #[must_use]
    pub fn with_sha256(mut self, is_computed: bool) -> Self {
        self.options.sha256 = is_computed;
        self
    }

    /// Returns the policy for retries of transient failures.
    pub fn retry_policy(&self) -> &RetryPolicy {
        &self.options.retry
    }

    /// Returns the HTTP client.
    pub fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Returns the maximum number of concurrent requests.
    pub fn workers(&self) -> usize {
        self.options.workers
    }
}

impl DownloaderBuilder {
    /// Sets the maximum number of concurrent requests for all files: 1 to 256. The default is 16.
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the maximum number of concurrent requests like [`with_workers`](Self::with_workers), and raises the memory
    /// limit to the minimum for this number.
    pub fn with_jobs(mut self, jobs: usize) -> Self {
        self.memory = self.memory.max(min_memory(jobs));
        self.with_workers(jobs)
    }

    /// Sets the length of the parts of large files, in bytes: 64 KiB to 1 GiB. The default is 8 MiB. If the process is
    /// killed, at most one part per worker must be downloaded again.
    pub fn with_chunk(mut self, bytes: u64) -> Self {
        self.chunk = bytes;
        self
    }

    /// Sets the maximum number of file bytes in memory: at least 128 KiB per worker. The default is 16 MiB.
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Sets the policy for retries of transient failures. By default, a part is retried for up to 30 minutes of
    /// uninterrupted failure; any progress of the part resets this time.
    pub fn with_retries(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets the minimum rate of a connection: `bytes` per `window`, not counting the time spent on writing. A request
    /// on a slower connection is sent again. The default is 20 KiB per 20 s.
    pub fn with_minimum_rate(mut self, bytes: u64, window: Duration) -> Self {
        self.rate = MinimumRate { bytes, window };
        self
    }

    /// Sets the kind of file lock. The default is a kernel lock, or a lease file on a file system without locks.
    pub fn with_locking(mut self, locking: Locking) -> Self {
        self.locking = locking;
        self
    }

    /// Sets the durability of published files. The default is [`Durability::File`].
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Enables or disables the computation of a SHA-256 for each file. It is enabled by default. If it is disabled, a
    /// large file is not read again after it was written; its CRC32C is computed from the received bytes.
    pub fn with_sha256(mut self, is_computed: bool) -> Self {
        self.sha256 = is_computed;
        self
    }

    /// Sets a limit for the total rate of all requests. The limit can be shared with uploads.
    pub fn with_rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limit = Some(limit);
        self
    }

    /// Builds the downloader.
    ///
    /// # Errors
    ///
    /// [`DownloaderError`]: the number of workers, the part length or the memory limit is out of range.
    pub fn build(self) -> Result<Downloader, DownloaderError> {
        let Self { workers, chunk, memory, .. } = self;
        if !WORKER_RANGE.contains(&workers) {
            return Err(DownloaderError::Workers(workers));
        }
        if !CHUNK_RANGE.contains(&chunk) {
            return Err(DownloaderError::Chunk(chunk));
        }
        if memory < min_memory(workers) {
            return Err(DownloaderError::Memory { memory, workers });
        }
        Ok(self.finish())
    }

    fn finish(self) -> Downloader {
        let Self { http, workers, chunk, memory, retry, rate, locking, sha256, rate_limit, durability } = self;
        let block = (memory / 2 / workers as u64).min(*BLOCK_RANGE.end());
        let batches = Arc::default();
        let options = Options { durability, batches, workers, chunk, block, retry, rate, locking, sha256, rate_limit };
        Downloader { http, workers: Arc::new(Semaphore::new(workers)), options }
    }
}
