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
const WORKERS: RangeInclusive<usize> = 1..=256;
/// The permitted length of the parts of large files, in bytes.
const CHUNKS: RangeInclusive<u64> = 64 * 1024..=1 << 30;
/// The permitted write block size, in bytes: the largest fits the processor caches.
const BLOCKS: RangeInclusive<u64> = 64 * 1024..=1024 * 1024;

/// A downloader. Files appear under their names only when they are complete and verified. Clones share the limits.
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
    /// The SHA-256 of each file is computed.
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
    #[error("{workers} workers need at least {} bytes of memory, not {memory}", least(*workers))]
    Memory {
        /// The memory limit, in bytes.
        memory: u64,
        /// The number of workers that share it.
        workers: usize,
    },
}

/// Returns the minimum memory: each worker receives one block while another is written.
fn least(workers: usize) -> u64 {
    (2 * BLOCKS.start()).saturating_mul(workers as u64)
}

impl Downloader {
    /// Creates a downloader with 16 workers, parts of 8 MiB and 16 MiB of memory. `http` must not decompress.
    pub fn new(http: HttpClient) -> Self {
        Self::builder(http).finish()
    }

    /// Returns a builder for a downloader. `http` must not decompress: checksums are those of the stored bytes.
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

    /// Returns a downloader with the same workers and another policy for [retries](DownloaderBuilder::with_retries).
    #[must_use]
    pub fn with_retry_policy(mut self, policy: RetryPolicy) -> Self {
        self.options.retry = policy;
        self
    }

    /// Returns a downloader with the same workers and other [locks](DownloaderBuilder::with_locking).
    #[must_use]
    pub fn with_locking(mut self, locking: Locking) -> Self {
        self.options.locking = locking;
        self
    }

    /// The same downloader, with the same workers, and another [durability](DownloaderBuilder::with_durability).
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.options.durability = durability;
        self
    }

    /// Returns a downloader with the same workers, with or without a [SHA-256](DownloaderBuilder::with_sha256).
    #[must_use]
    pub fn with_sha256(mut self, is_computed: bool) -> Self {
        self.options.sha256 = is_computed;
        self
    }

    /// Returns the policy for transient failures.
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
    /// Sets the maximum number of concurrent requests for all files: 1 to 256.
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the maximum number of concurrent requests, and raises the memory limit if they need more.
    pub fn with_jobs(mut self, jobs: usize) -> Self {
        self.memory = self.memory.max(least(jobs));
        self.with_workers(jobs)
    }

    /// Sets the length in bytes of the parts of large files: 64 KiB to 1 GiB. A killed process loses at most one part
    /// per worker.
    pub fn with_chunk(mut self, bytes: u64) -> Self {
        self.chunk = bytes;
        self
    }

    /// Sets the maximum number of file bytes in memory, at least 128 KiB per worker.
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Sets the policy for retries of transient failures. The default is 30 minutes. Progress of a part resets it.
    pub fn with_retries(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets the minimum rate of a connection: `bytes` per `window`, without time spent on writing. Slower connections
    /// are replaced. The default is 20 KiB in 20 s.
    pub fn with_minimum_rate(mut self, bytes: u64, window: Duration) -> Self {
        self.rate = MinimumRate { bytes, window };
        self
    }

    /// Sets the kind of file lock. The default is a kernel lock, or a lease where the file system has none.
    pub fn with_locking(mut self, locking: Locking) -> Self {
        self.locking = locking;
        self
    }

    /// Sets the durability of files under their final name. By default, they survive a power failure.
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Enables or disables the SHA-256 of each file. Without it, a large file is not read back after it was written: its
    /// CRC32C is that of the received bytes. Enabled by default.
    pub fn with_sha256(mut self, is_computed: bool) -> Self {
        self.sha256 = is_computed;
        self
    }

    /// Sets a limit for the sum of the rates of all requests. It can be shared with uploads.
    pub fn with_rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limit = Some(limit);
        self
    }

    /// Builds the downloader.
    ///
    /// # Errors
    ///
    /// [`DownloaderError`]: a number is out of range.
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
        let Self { http, workers, chunk, memory, retry, rate, locking, sha256, rate_limit, durability } = self;
        let block = (memory / 2 / workers as u64).min(*BLOCKS.end());
        let batches = Arc::default();
        let options = Options { durability, batches, workers, chunk, block, retry, rate, locking, sha256, rate_limit };
        Downloader { http, workers: Arc::new(Semaphore::new(workers)), options }
    }
}
