//! Downloads of a run's artifacts into an object store, without local copies.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use auth_http::HttpClient;
use platform_download::{
    Expected, FolderError, ManifestEntry, Outcome, Progress, Shard, Source, Store, StoreAddress, StoreError,
};

use super::destination::{Destination, Fetcher};
use super::layout::Layout;
use super::report::{Event, RunReport};
use super::selection::Selection;
use super::store_manifest::StoreManifest;
use super::transfer::{Transfer, for_one_file};
use crate::{Client, Error, RunHandle};

/// The number of files that are downloaded at the same time. Each takes up to two parts of memory.
const JOBS: usize = 8;
/// The number of files in succession for which the store fails, after which the others are not tried.
const OUTAGES: u32 = 3;

/// A download of a run's results into an object store. Objects with the stated checksum are skipped.
pub struct StoreDownload {
    transfer: Transfer,
    store: Store,
    address: StoreAddress,
    jobs: usize,
}

impl Client {
    /// Opens the store of an address: that of the organization's own bucket with its key, and others with the
    /// credentials of the environment ([`Store::open`]). It is used with the connections and the retries of this
    /// client, without its tokens.
    ///
    /// # Errors
    ///
    /// The store cannot be opened.
    pub async fn store(&self, address: &StoreAddress) -> Result<Store, Error> {
        if address.is_google() {
            match self.bucket().await {
                Ok(bucket) if Some(bucket.name()) == address.bucket() => {
                    return Ok(self.configured(Store::bucket(bucket)?));
                }
                // Without the user, for example with a share token, the address is not that of the own bucket.
                Err(error) if error.is_transient() => return Err(error),
                _ => {}
            }
        }
        Ok(self.configured(Store::open(address, self.storage.http_builder(), self.storage.retry)?))
    }

    /// Sets the limit of the rate and the folder of journals.
    fn configured(&self, store: Store) -> Store {
        let store = store.with_journal(self.storage.upload_journal.clone());
        self.storage.rate_limit.iter().cloned().fold(store, Store::with_rate_limit)
    }
}

impl RunHandle {
    /// Prepares a download of the run's results into `store`, which the client [opened](Client::store) for `address`.
    /// Keys are paths below the prefix of the address. A manifest of the run lists them: `RUN/manifest.jsonl`.
    pub fn download_to_store(&self, store: Store, address: StoreAddress) -> StoreDownload {
        let transfer = Transfer::new(self);
        let jobs = self.client.storage.transfer.jobs().unwrap_or(JOBS);
        StoreDownload { transfer, store, address, jobs }.with_layout(Layout::default())
    }
}

impl fmt::Debug for StoreDownload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transfer, address, .. } = self;
        let run = &transfer.run.id;
        formatter.debug_struct("StoreDownload").field("run", run).field("address", address).finish_non_exhaustive()
    }
}

impl StoreDownload {
    /// Sets an observer of events. It is called in the task of the download, and must not block.
    pub fn with_observer(mut self, observer: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.transfer.observer = Arc::new(observer);
        self
    }

    /// Sets a selection of results. The default is all results.
    pub fn with_selection(mut self, selection: Selection) -> Self {
        self.transfer.selection = selection;
        self
    }

    /// Sets the layout of keys. There always is a prefix for each run.
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.transfer.layout = layout.with_folder_per_run(true);
        self
    }

    /// Sets the number of files that are downloaded at the same time: by default that of the settings, or 8. Each takes
    /// up to two parts of memory: 16 MiB, and more for files of more than 80 GB.
    pub fn with_jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs.max(1);
        self
    }

    /// Downloads the results available now.
    ///
    /// A failed file does not stop the others; the report names it. If the future is dropped, no incomplete object is
    /// left under a final key, and a later call stores the rest. Invisible parts can be left.
    ///
    /// # Errors
    ///
    /// [`Error::unmatched_selection`] if the selection matches nothing of the run. Otherwise, a request for the run or
    /// its items failed.
    pub async fn fetch(self) -> Result<RunReport, Error> {
        self.run(false).await
    }

    /// Follows the run until it ends, and downloads results as they become available. Otherwise it works like
    /// [`fetch`](Self::fetch).
    ///
    /// # Errors
    ///
    /// The same as [`fetch`](Self::fetch).
    pub async fn follow(self) -> Result<RunReport, Error> {
        self.run(true).await
    }

    async fn run(mut self, follow: bool) -> Result<RunReport, Error> {
        let client = &self.transfer.run.client;
        let (policy, http) = (client.storage.retry, client.storage_http()?.clone());
        let store = self.store.clone().with_retry(for_one_file(policy));
        let fetcher =
            StoreFetcher { store, http, address: self.address.clone(), jobs: self.jobs, outages: AtomicU32::new(0) };
        let mut manifest = StoreManifest::read(self.store, self.address, &self.transfer.run.id).await;
        let report = self.transfer.run(&mut manifest, &fetcher, policy, follow).await;
        // It lists what was stored, also if a request for the run has failed.
        let stored = manifest.finish().await;
        let mut report = report?;
        report.manifest = stored;
        Ok(report)
    }
}

/// Fetches files to their paths below an address.
struct StoreFetcher {
    store: Store,
    http: HttpClient,
    address: StoreAddress,
    jobs: usize,
    /// The number of files in succession for which the store failed.
    outages: AtomicU32,
}

impl Fetcher<String> for StoreFetcher {
    type Error = StoreError;

    /// The parts of a failed attempt are discarded.
    const RESUMES: bool = false;

    fn jobs(&self) -> usize {
        self.jobs
    }

    async fn fetch(
        &self,
        source: &dyn Source,
        expected: Expected,
        file: &String,
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Outcome, StoreError> {
        let key = self.address.key(file);
        if self.outages.load(Ordering::Relaxed) >= OUTAGES {
            return Err(StoreError::skipped(&key));
        }
        let received = |bytes| on_progress(Progress::Received(bytes));
        let stored = self.store.fetch(&self.http, source, expected, &key, &received).await;
        match &stored {
            Ok(_) => self.outages.store(0, Ordering::Relaxed),
            Err(error) if error.is_store() && error.is_transient() => {
                self.outages.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {}
        }
        let stored = stored?;
        let progress = if stored.already_present { Progress::AlreadyPresent } else { Progress::Durable };
        on_progress(progress(stored.bytes));
        Ok(stored.outcome(expected))
    }

    fn is_postponed(error: &StoreError) -> bool {
        error.is_request_limit()
    }
}

/// The target of a file is its path below the address.
impl Destination for StoreManifest {
    type Target = String;

    fn shard(&self) -> Shard {
        Shard::default()
    }

    fn target(&self, file: &str) -> String {
        file.to_owned()
    }

    fn is_needed(&self, file: &String, expected: Expected) -> bool {
        self.known(file).is_none_or(|entry| expected.crc32c() != Some(entry.crc32c))
    }

    fn missing(&self, _: &String, _: u64) -> u64 {
        0
    }

    fn entry(&self, file: &str) -> Result<Option<ManifestEntry>, FolderError> {
        Ok(self.known(file).cloned())
    }

    fn entry_if_present(&self, file: &str) -> Result<Option<ManifestEntry>, FolderError> {
        self.entry(file)
    }

    fn entries(&self) -> impl Iterator<Item = Result<ManifestEntry, FolderError>> {
        self.all().cloned().map(Ok)
    }

    fn entries_of(&self, run: &str) -> impl Iterator<Item = Result<ManifestEntry, FolderError>> {
        self.all().filter(move |entry| entry.origin.run == run).cloned().map(Ok)
    }

    async fn check_free_space(&self, _: u64) -> Result<(), FolderError> {
        Ok(())
    }

    async fn record(&mut self, entry: ManifestEntry) -> Result<(), FolderError> {
        self.add(entry);
        Ok(())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::store(error)
    }
}
