//! Sources and targets of test downloads.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use auth_http::{Method, Request};
use crc::{CRC_32_ISCSI, Crc};
use platform_download::{
    Crc32c, DownloadError, Downloader, DownloaderBuilder, Expected, Outcome, Progress, ResolvedUrl, RetryPolicy,
    SignedUrl, Source, Target,
};
use platform_emulator::JournalEntry;
use tempfile::TempDir;

use crate::http;
use crate::storage::Storage;

/// The length of the parts of large files in these tests.
pub(crate) const CHUNK: u64 = 64 * 1024;

/// Returns the CRC32C, computed by an independent implementation.
pub(crate) fn crc32c(content: &[u8]) -> Crc32c {
    Crc32c::from(Crc::<u32>::new(&CRC_32_ISCSI).checksum(content))
}

pub(crate) fn expected(content: &[u8]) -> Expected {
    Expected::new(crc32c(content)).with_bytes(content.len() as u64)
}

/// Returns pseudorandom bytes that depend only on the length.
pub(crate) fn content(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..)).take(bytes).collect()
}

/// A source that always returns the same URL, or always an error. It counts its calls.
#[derive(Debug)]
pub(crate) struct FixedSource {
    url: Option<SignedUrl>,
    calls: AtomicUsize,
}

impl FixedSource {
    pub(crate) fn new(url: Option<SignedUrl>) -> Self {
        Self { url, calls: AtomicUsize::new(0) }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Source for FixedSource {
    async fn resolve(&self) -> Result<ResolvedUrl, Box<dyn Error + Send + Sync>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.url.clone().map(Into::into).ok_or_else(|| "the file was deleted".into())
    }
}

/// Returns a builder with few workers, small parts and short retries.
pub(crate) fn builder() -> DownloaderBuilder {
    let retries =
        RetryPolicy::default().with_attempts(3).with_backoff(Duration::from_millis(1), Duration::from_millis(5));
    Downloader::builder(http()).with_workers(4).with_chunk(CHUNK).with_retries(retries)
}

/// A target in a temporary folder, and the recorded progress of its downloads.
pub(crate) struct TestTarget {
    pub(crate) folder: TempDir,
    pub(crate) file: PathBuf,
    pub(crate) target: Target,
    events: Mutex<Vec<Progress>>,
}

impl TestTarget {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("item/result.csv");
        let target = Target::within(folder.path(), ["item", "result.csv"]);
        Self { folder, file, target, events: Mutex::default() }
    }

    pub(crate) async fn fetch(&self, source: &FixedSource, expected: Expected) -> Result<Outcome, DownloadError> {
        self.fetch_with(&builder().build().unwrap(), source, expected).await
    }

    pub(crate) async fn fetch_with(
        &self,
        downloader: &Downloader,
        source: &FixedSource,
        expected: Expected,
    ) -> Result<Outcome, DownloadError> {
        let observe = |event| self.events.lock().unwrap().push(event);
        downloader.fetch(source, expected, &self.target, &observe).await
    }

    /// Returns the sums of already present, received, durable and lost bytes since the last call.
    pub(crate) fn progress_sums(&self) -> [u64; 4] {
        let mut sums = [0; 4];
        for event in self.events.lock().unwrap().drain(..) {
            match event {
                Progress::AlreadyPresent(bytes) => sums[0] += bytes,
                Progress::Received(bytes) => sums[1] += bytes,
                Progress::Durable(bytes) => sums[2] += bytes,
                Progress::Lost(bytes) => sums[3] += bytes,
                other => panic!("{other:?}"),
            }
        }
        sums
    }

    /// Returns the names of all files, including hidden ones.
    pub(crate) fn files(&self) -> Vec<String> {
        fn walk(folder: &Path, names: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), names);
                } else {
                    names.push(entry.file_name().into_string().unwrap());
                }
            }
        }
        let mut names = Vec::new();
        walk(self.folder.path(), &mut names);
        names.sort();
        names
    }

    /// Creates an old file at the target.
    pub(crate) fn with_old_file(self) -> Self {
        fs::create_dir_all(self.file.parent().unwrap()).unwrap();
        fs::write(&self.file, "the good old file").unwrap();
        self
    }
}

impl Storage {
    /// Stores an object with these headers, and returns a source for it.
    pub(crate) async fn file(&self, key: &str, content: &[u8], headers: &[(&str, &str)]) -> FixedSource {
        let url = self.bucket.put_url(key, None).unwrap();
        let mut request = Request::new(Method::Put, url.expose().clone());
        request = request.with_body("application/octet-stream", content.to_vec());
        for (name, value) in headers {
            request = request.with_header(*name, *value);
        }
        assert_eq!(http().send(request).await.unwrap().status(), 200);
        FixedSource::new(Some(self.bucket.get_url(key, None).unwrap()))
    }

    /// Returns the total number of bytes that all requests asked for, of a file of `bytes` bytes.
    pub(crate) async fn requested(&self, bytes: u64) -> u64 {
        self.requests("GET").await.iter().map(|entry| requested_bytes(entry, bytes)).sum()
    }
}

/// Returns the number of bytes that a request asks for, of a file of `bytes` bytes.
fn requested_bytes(entry: &JournalEntry, bytes: u64) -> u64 {
    let Some(range) = &entry.range else { return bytes };
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
    (last + 1).min(bytes) - first
}
