//! The destinations of a run's files: a folder or an object store.

use std::error::Error;

use platform_download::{
    DownloadError, Downloader, Expected, FolderError, ManifestEntry, Outcome, Progress, ResultFolder, Shard, Source,
    Target,
};

/// The manifest of a destination, and the places of its files.
pub(super) trait Destination: Send + Sync {
    /// The place of a file.
    type Target: Send + Sync;

    /// Returns the shard of the items to download.
    fn shard(&self) -> Shard;

    /// Returns the place of a file, by its path relative to the destination.
    fn target(&self, file: &str) -> Self::Target;

    /// Returns true unless a file of the expected length exists. The content is not read.
    fn is_needed(&self, target: &Self::Target, expected: Expected) -> bool;

    /// Returns the number of bytes that a file of `bytes` bytes needs on the disk, determined without reading files.
    fn missing(&self, target: &Self::Target, bytes: u64) -> u64;

    /// Returns the manifest entry of a file.
    fn entry(&self, file: &str) -> Result<Option<ManifestEntry>, FolderError>;

    /// Returns the manifest entry of a file, if the file can exist.
    fn entry_if_present(&self, file: &str) -> Result<Option<ManifestEntry>, FolderError>;

    /// Returns all entries of the manifest.
    fn entries(&self) -> impl Iterator<Item = Result<ManifestEntry, FolderError>>;

    /// Returns the entries of a run.
    fn entries_of(&self, run: &str) -> impl Iterator<Item = Result<ManifestEntry, FolderError>>;

    /// Fails if fewer than `bytes` bytes can be written.
    fn check_free_space(&self, bytes: u64) -> impl Future<Output = Result<(), FolderError>> + Send;

    /// Records a file.
    fn record(&mut self, entry: ManifestEntry) -> impl Future<Output = Result<(), FolderError>> + Send;
}

/// A way to fetch files to targets of a destination.
pub(super) trait Fetcher<T>: Sync {
    type Error: Error + Send + Sync + 'static;

    /// True if a failed attempt leaves the received bytes for the next one.
    const RESUMES: bool;

    /// Returns the number of files that are fetched at the same time.
    fn jobs(&self) -> usize;

    /// Fetches a file, unless the target has it.
    fn fetch(
        &self,
        source: &dyn Source,
        expected: Expected,
        target: &T,
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> impl Future<Output = Result<Outcome, Self::Error>> + Send;

    /// Returns true if other files should be tried before this one is tried again.
    fn is_postponed(error: &Self::Error) -> bool;
}

impl Destination for ResultFolder {
    type Target = Target;

    fn shard(&self) -> Shard {
        ResultFolder::shard(self)
    }

    fn target(&self, file: &str) -> Target {
        ResultFolder::target(self, file.split('/'))
    }

    fn is_needed(&self, target: &Target, expected: Expected) -> bool {
        let found = target.path().symlink_metadata().ok().filter(std::fs::Metadata::is_file);
        found.is_none_or(|found| expected.bytes().is_some_and(|bytes| bytes != found.len()))
    }

    fn missing(&self, target: &Target, bytes: u64) -> u64 {
        target.missing(bytes)
    }

    fn entry(&self, file: &str) -> Result<Option<ManifestEntry>, FolderError> {
        ResultFolder::entry(self, file)
    }

    fn entry_if_present(&self, file: &str) -> Result<Option<ManifestEntry>, FolderError> {
        ResultFolder::entry_if_present(self, file)
    }

    fn entries(&self) -> impl Iterator<Item = Result<ManifestEntry, FolderError>> {
        ResultFolder::entries(self)
    }

    fn entries_of(&self, run: &str) -> impl Iterator<Item = Result<ManifestEntry, FolderError>> {
        ResultFolder::entries_of(self, run)
    }

    async fn check_free_space(&self, bytes: u64) -> Result<(), FolderError> {
        ResultFolder::check_free_space(self, bytes).await
    }

    async fn record(&mut self, entry: ManifestEntry) -> Result<(), FolderError> {
        ResultFolder::record(self, entry).await
    }
}

impl Fetcher<Target> for Downloader {
    type Error = DownloadError;

    const RESUMES: bool = true;

    fn jobs(&self) -> usize {
        self.workers()
    }

    async fn fetch(
        &self,
        source: &dyn Source,
        expected: Expected,
        target: &Target,
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Outcome, DownloadError> {
        Downloader::fetch(self, source, expected, target, on_progress).await
    }

    fn is_postponed(error: &DownloadError) -> bool {
        error.is_request_limit()
    }
}
