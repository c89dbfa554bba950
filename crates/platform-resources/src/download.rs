//! Downloads of a run's artifacts as they become available.

mod artifact;
mod destination;
mod layout;
mod packed_list;
mod plan;
mod record;
mod recorded_names;
mod report;
mod selection;
mod source;
#[cfg(feature = "object-store")]
mod store_manifest;
#[cfg(feature = "object-store")]
mod target;
#[cfg(feature = "object-store")]
mod to_store;
mod transfer;

use std::fmt;
use std::sync::Arc;

use platform_download::{Downloader, Durability, ResultFolder};

use crate::{Error, RunHandle};
use transfer::{Transfer, file_retry_policy};

pub use layout::{Layout, NameBy};
pub use report::{
    ArtifactReport, DeletedFiles, Event, FileEvent, FileProgress, FileStep, ItemReport, RunProgress, RunReport, Verdict,
};
pub use selection::Selection;
#[cfg(feature = "object-store")]
pub use store_manifest::stored_origins;
#[cfg(feature = "object-store")]
pub use target::ResultsTarget;
#[cfg(feature = "object-store")]
pub use to_store::StoreDownload;

/// A download of a run's results to a folder. Existing files with the expected checksum are skipped, and interrupted
/// downloads resume.
pub struct RunDownload {
    transfer: Transfer,
    folder: ResultFolder,
    downloader: Option<Downloader>,
    durability: Durability,
}

impl RunHandle {
    /// Prepares a download of the run's results to `folder`. If the folder was opened [for a
    /// shard](ResultFolder::open_shard), only the items of this shard are downloaded.
    ///
    /// ```no_run
    /// use platform_resources::{Client, ResultFolder, Shard};
    ///
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// // The third of eight tasks of an array job. The tasks share the folder and need no coordination.
    /// let folder = ResultFolder::open_shard("results", Shard::new(2, 8)?).await?;
    /// let report = client.run("run-1").download(folder).follow().await?;
    /// println!("complete: {}, verified: {}", report.is_complete(), report.is_verified());
    /// # Ok(()) }
    /// ```
    pub fn download(&self, folder: ResultFolder) -> RunDownload {
        RunDownload { transfer: Transfer::new(self), folder, downloader: None, durability: Durability::default() }
    }
}

impl fmt::Debug for RunDownload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transfer, folder, .. } = self;
        formatter
            .debug_struct("RunDownload")
            .field("run", &transfer.run.id)
            .field("folder", folder)
            .finish_non_exhaustive()
    }
}

impl RunDownload {
    /// Sets a function that is called for each event, in the task of the download. It must not block.
    pub fn with_observer(mut self, observer: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.transfer.observer = Arc::new(observer);
        self
    }

    /// Sets a selection of results. The default is all results.
    pub fn with_selection(mut self, selection: Selection) -> Self {
        self.transfer.selection = selection;
        self
    }

    /// Sets the layout of files in the folder. The default is one folder per item.
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.transfer.layout = layout;
        self
    }

    /// Enables or disables the replacement of files with a different checksum that are results of another run according
    /// to the manifest. It is enabled by default. If it is disabled, the new artifact is reported as failed.
    pub fn with_overwrite(mut self, overwrite: bool) -> Self {
        self.transfer.overwrite = overwrite;
        self
    }

    /// Sets the durability of published files. The default is [`Durability::File`].
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Uses a custom downloader. Create it with [`Client::storage_http`](crate::Client::storage_http).
    pub fn with_downloader(mut self, downloader: Downloader) -> Self {
        self.downloader = Some(downloader);
        self
    }

    /// Sets the metadata keys of an artifact's CRC32C (base64), in order of precedence. The default is
    /// `checksum_base64_crc32c`, `checksum_crc32c`.
    pub fn with_checksum_keys(mut self, keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.transfer.checksum_keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Downloads the results available now.
    ///
    /// The report names each failed file. Other files are still downloaded. After a transient failure, a file is
    /// retried after the other files, within the limits of the [retry policy](Downloader::retry_policy). If the future
    /// is dropped, no incomplete file has a final name, and a later call resumes the download. A new run that is not
    /// found yet is requested again for up to 10 s.
    ///
    /// # Errors
    ///
    /// [`Error::unmatched_selection`]: the selection matches no item or artifact of the run. Otherwise a request for
    /// the run or its items failed, or the disk does not have enough space.
    pub async fn fetch(mut self) -> Result<RunReport, Error> {
        let report = self.transfer_results(false).await?;
        Ok(self.finish(report).await)
    }

    /// Downloads the results available now, like [`fetch`](Self::fetch). Also returns the locked folder, for the
    /// download of another run. Its manifest lists all files, but is not sorted before [`ResultFolder::finish`].
    pub async fn fetch_and_keep(mut self) -> (Result<RunReport, Error>, ResultFolder) {
        let report = self.transfer_results(false).await;
        (report, self.folder)
    }

    /// Follows the run until it ends, and downloads results as they become available. Otherwise it works like
    /// [`fetch`](Self::fetch).
    ///
    /// # Errors
    ///
    /// The same as [`fetch`](Self::fetch).
    pub async fn follow(mut self) -> Result<RunReport, Error> {
        let report = self.transfer_results(true).await?;
        Ok(self.finish(report).await)
    }

    async fn finish(self, mut report: RunReport) -> RunReport {
        if report.manifest.is_ok() {
            report.manifest = self.folder.finish().await;
        }
        report
    }

    async fn transfer_results(&mut self, follow: bool) -> Result<RunReport, Error> {
        let downloader = match &self.downloader {
            Some(downloader) => downloader.clone(),
            None => self.transfer.run.client.downloader()?,
        };
        let policy = *downloader.retry_policy();
        let downloader = downloader.with_retry_policy(file_retry_policy(policy));
        let downloader = downloader.with_locking(self.folder.locking()).with_durability(self.durability);
        self.transfer.download(&mut self.folder, &downloader, policy, follow).await
    }
}
