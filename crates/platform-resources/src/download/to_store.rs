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
use super::transfer::{Transfer, file_retry_policy};
use crate::{Client, Error, RunHandle};

/// The default number of files that are downloaded at the same time. Each file needs memory for up to two parts.
const DEFAULT_JOBS: usize = 8;
/// The number of consecutive files with a failure of the store after which the remaining files are skipped.
const MAX_CONSECUTIVE_FAILURES: u32 = 3;

/// A download of a run's results into an object store. Objects with the expected checksum are skipped.
pub struct StoreDownload {
    transfer: Transfer,
    store: Store,
    address: StoreAddress,
    jobs: usize,
}

impl Client {
    /// Opens the store at an address. The organization's own bucket is opened with its key, other stores with the
    /// credentials of the environment ([`Store::open`]). Requests to the store use the connections and the retries of
    /// this client, but not its tokens.
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
                // A permanent failure means that the caller has no bucket, for example with only a share token.
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
        let jobs = self.client.storage.transfer.jobs().unwrap_or(DEFAULT_JOBS);
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

    /// Sets the layout of keys. The layout always has a prefix for each run.
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.transfer.layout = layout.with_folder_per_run(true);
        self
    }

    /// Sets the number of files that are downloaded at the same time. The default is the number in the settings, or 8.
    /// Each file needs memory for up to two parts: 16 MiB, and more for files of more than 80 GB.
    pub fn with_jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs.max(1);
        self
    }

    /// Downloads the results available now.
    ///
    /// The report names each failed file. Other files are still downloaded. If the future is dropped, no incomplete
    /// object has a final key, and a later call stores the remaining files. Parts of unfinished uploads can remain in
    /// the store.
    ///
    /// # Errors
    ///
    /// [`Error::unmatched_selection`]: the selection matches no item or artifact of the run. Otherwise a request for
    /// the run or its items failed.
    pub async fn fetch(self) -> Result<RunReport, Error> {
        self.transfer_results(false).await
    }

    /// Follows the run until it ends, and downloads results as they become available. Otherwise it works like
    /// [`fetch`](Self::fetch).
    ///
    /// # Errors
    ///
    /// The same as [`fetch`](Self::fetch).
    pub async fn follow(self) -> Result<RunReport, Error> {
        self.transfer_results(true).await
    }

    async fn transfer_results(mut self, follow: bool) -> Result<RunReport, Error> {
        let client = &self.transfer.run.client;
        let (policy, http) = (client.storage.retry, client.storage_http()?.clone());
        let store = self.store.clone().with_retry(file_retry_policy(policy));
        let fetcher = StoreFetcher {
            store,
            http,
            address: self.address.clone(),
            jobs: self.jobs,
            consecutive_failures: AtomicU32::new(0),
        };
        let mut manifest = StoreManifest::read(self.store, self.address, &self.transfer.run.id).await;
        let report = self.transfer.download(&mut manifest, &fetcher, policy, follow).await;
        // The manifest is written even if a request for the run failed, so that it lists all stored files.
        let manifest = manifest.finish().await;
        let mut report = report?;
        report.manifest = manifest;
        Ok(report)
    }
}

/// A client that fetches files to keys below an address.
struct StoreFetcher {
    store: Store,
    http: HttpClient,
    address: StoreAddress,
    jobs: usize,
    /// The number of consecutive files with a failure of the store.
    consecutive_failures: AtomicU32,
}

impl Fetcher<String> for StoreFetcher {
    type Error = StoreError;

    /// The store discards the parts of a failed attempt.
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
        if self.consecutive_failures.load(Ordering::Relaxed) >= MAX_CONSECUTIVE_FAILURES {
            return Err(StoreError::skipped(&key));
        }
        let on_received = |bytes| on_progress(Progress::Received(bytes));
        let stored_object = self.store.fetch(&self.http, source, expected, &key, &on_received).await;
        match &stored_object {
            Ok(_) => self.consecutive_failures.store(0, Ordering::Relaxed),
            Err(error) if error.is_store() && error.is_transient() => {
                self.consecutive_failures.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {}
        }
        let stored_object = stored_object?;
        let progress = if stored_object.already_present { Progress::AlreadyPresent } else { Progress::Durable };
        on_progress(progress(stored_object.bytes));
        Ok(stored_object.outcome(expected))
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

    fn needs_download(&self, file: &String, expected: Expected) -> bool {
        self.recorded_entry(file).is_none_or(|entry| expected.crc32c() != Some(entry.crc32c))
    }

    fn required_space(&self, _: &String, _: u64) -> u64 {
        0
    }

    fn entry(&self, file: &str) -> Result<Option<ManifestEntry>, FolderError> {
        Ok(self.recorded_entry(file).cloned())
    }

    fn entry_if_present(&self, file: &str) -> Result<Option<ManifestEntry>, FolderError> {
        self.entry(file)
    }

    fn entries(&self) -> impl Iterator<Item = Result<ManifestEntry, FolderError>> {
        self.all_entries().cloned().map(Ok)
    }

    fn entries_of(&self, run: &str) -> impl Iterator<Item = Result<ManifestEntry, FolderError>> {
        self.all_entries().filter(move |entry| entry.origin.run == run).cloned().map(Ok)
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
