use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use auth_core::Clock;
use auth_http::HttpClientBuilder;
use auth_http::retry::RetryPolicy;
use platform_download::Downloader;

use crate::error::{BuildError, Error};
use crate::settings::{BucketSettings, Settings};

/// The client of the storage: without credentials, without decompression, and with HTTP/1.1, so that each worker has
/// its own connection.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    prepared: HttpClientBuilder,
    /// The default downloader, shared by all downloads of a client. It is created on first use, because it loads all
    /// certificates of the system, and most calls do not use the storage.
    downloader: Arc<OnceLock<Downloader>>,
    pub(crate) settings: BucketSettings,
    /// The folder for the records of uploads.
    pub(crate) upload_journal: PathBuf,
    pub(crate) retry: RetryPolicy,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Storage {
    pub(crate) fn new(http: HttpClientBuilder, settings: &Settings, clock: Arc<dyn Clock>) -> Self {
        let prepared = http.without_decompression().with_http1();
        let (retry, upload_journal) = (settings.retry.for_transfers(), settings.state_folder.join("uploads"));
        let settings = settings.bucket.clone();
        Self { prepared, downloader: Arc::default(), settings, upload_journal, retry, clock }
    }

    pub(crate) fn downloader(&self) -> Result<&Downloader, Error> {
        if let Some(downloader) = self.downloader.get() {
            return Ok(downloader);
        }
        let http = self.prepared.clone().build().map_err(BuildError::from)?;
        let downloader = Downloader::new(http).with_retry_policy(self.retry);
        Ok(self.downloader.get_or_init(|| downloader))
    }
}
