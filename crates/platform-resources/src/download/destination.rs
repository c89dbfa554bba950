//! The destinations of a run's files: a folder or an object store.

use std::error::Error;

use platform_download::{
    DownloadError, Downloader, Expected, FolderError, ManifestEntry, Outcome, Progress, ResultFolder, Shard, Source,
    Target,
};

/// A destination of result files: the locations of the files, and their manifest.
pub(super) trait Destination: Send + Sync {
    /// The location of a file: a path or an object key.
    type Target: Send + Sync;

    /// Returns the shard of the items to download.
    fn shard(&self) -> Shard;

    /// Returns the location of a file from its path relative to the destination.
    fn target(&self, file: &str) -> Self::Target;

    /// Returns true unless a file of the expected length exists. The content of the file is not read.
    fn needs_download(&self, target: &Self::Target, expected: Expected) -> bool;

    /// Returns the additional disk space that a file of `bytes` bytes needs, in bytes. Does not read files.
    fn required_space(&self, target: &Self::Target, bytes: u64) -> u64;

    /// Returns the manifest entry of a file.
    fn entry(&self, file: &str) -> Result<Option<ManifestEntry>, FolderError>;

    /// Returns the manifest entry of a file, if a file of the recorded length may exist.
    fn entry_if_present(&self, file: &str) -> Result<Option<ManifestEntry>, FolderError>;

    /// Returns all entries of the manifest.
    fn entries(&self) -> impl Iterator<Item = Result<ManifestEntry, FolderError>>;

    /// Returns the entries of a run in the manifest.
    fn entries_of(&self, run: &str) -> impl Iterator<Item = Result<ManifestEntry, FolderError>>;

    /// Fails if fewer than `bytes` bytes can be written.
    fn check_free_space(&self, bytes: u64) -> impl Future<Output = Result<(), FolderError>> + Send;

    /// Records a file in the manifest.
    fn record(&mut self, entry: ManifestEntry) -> impl Future<Output = Result<(), FolderError>> + Send;
}

/// A client that fetches files to locations of a destination.
pub(super) trait Fetcher<T>: Sync {
    type Error: Error + Send + Sync + 'static;

    /// True if the next attempt reuses the bytes that a failed attempt has received.
    const RESUMES: bool;

    /// Returns the number of files that are fetched at the same time.
    fn jobs(&self) -> usize;

    /// Fetches a file, unless it exists at the target.
    fn fetch(
        &self,
        source: &dyn Source,
        expected: Expected,
        target: &T,
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> impl Future<Output = Result<Outcome, Self::Error>> + Send;

    /// Returns true if other files should be fetched before this file is retried.
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

    fn needs_download(&self, target: &Target, expected: Expected) -> bool {
        let metadata = target.path().symlink_metadata().ok().filter(std::fs::Metadata::is_file);
        metadata.is_none_or(|metadata| expected.bytes().is_some_and(|bytes| bytes != metadata.len()))
    }

    fn required_space(&self, target: &Target, bytes: u64) -> u64 {
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
