use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use auth_core::Clock;
use auth_http::HttpClientBuilder;
use auth_http::retry::RetryPolicy;
use platform_download::{Downloader, DownloaderBuilder, RateLimit};

use crate::error::{BuildError, Error};
use crate::settings::{BucketSettings, Settings, TransferSettings};

/// The HTTP client and the settings for the storage. The client sends no credentials and does not decompress responses.
/// It uses HTTP/1.1, so that each worker has its own connection.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    http_builder: HttpClientBuilder,
    /// The downloader that all downloads of a client share. It is created on first use, because this loads all
    /// certificates of the system, and most calls do not use the storage.
    downloader: Arc<OnceLock<Downloader>>,
    pub(crate) settings: BucketSettings,
    /// The folder for upload journals.
    pub(crate) upload_journal: PathBuf,
    pub(crate) transfer: TransferSettings,
    /// The limit for the total rate of all uploads and downloads.
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) retry: RetryPolicy,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Storage {
    pub(crate) fn new(http: HttpClientBuilder, settings: &Settings, clock: Arc<dyn Clock>) -> Self {
        let http_builder = http.without_decompression().with_http1();
        let (retry, upload_journal) = (settings.retry.for_transfers(), settings.state_folder.join("uploads"));
        let transfer = settings.transfer;
        let (settings, rate_limit) = (settings.bucket.clone(), transfer.limit_rate.map(RateLimit::new));
        Self { http_builder, downloader: Arc::default(), settings, upload_journal, transfer, rate_limit, retry, clock }
    }

    /// Returns a builder for the HTTP clients of other stores.
    #[cfg(feature = "object-store")]
    pub(crate) fn http_builder(&self) -> &HttpClientBuilder {
        &self.http_builder
    }

    pub(crate) fn downloader(&self) -> Result<&Downloader, Error> {
        if let Some(downloader) = self.downloader.get() {
            return Ok(downloader);
        }
        let http = self.http_builder.clone().build().map_err(BuildError::from)?;
        let downloader = Downloader::builder(http).with_retries(self.retry).with_sha256(self.transfer.sha256);
        let downloader = self.transfer.jobs().into_iter().fold(downloader, DownloaderBuilder::with_jobs);
        let downloader = self.transfer.chunk_size().into_iter().fold(downloader, DownloaderBuilder::with_chunk);
        let downloader = self.rate_limit.iter().cloned().fold(downloader, DownloaderBuilder::with_rate_limit);
        #[expect(clippy::expect_used, reason = "the settings are within the limits of downloads")]
        let downloader = downloader.build().expect("the limits are valid");
        Ok(self.downloader.get_or_init(|| downloader))
    }
}
