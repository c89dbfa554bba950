use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use auth_core::Clock;
use auth_http::retry::RetryPolicy;
use auth_http::{HttpClient, HttpClientBuilder};
use platform_download::{Bucket, Downloader, UrlSigner};

use crate::{BucketSettings, BuildError, Client, Error, Settings};

/// The client of the storage: without credentials, without decompression, and with HTTP/1.1, so that each worker has
/// its own connection.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    prepared: HttpClientBuilder,
    /// The default downloader, shared by all downloads of a client. It is created on first use, because it loads all
    /// certificates of the system, and most calls do not use the storage.
    downloader: Arc<OnceLock<Downloader>>,
    settings: BucketSettings,
    /// The folder for the records of uploads.
    upload_journal: PathBuf,
    retry: RetryPolicy,
    clock: Arc<dyn Clock>,
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

impl Client {
    /// Returns the bucket of the caller's organization, for uploading slides and signing URLs for the platform. The
    /// [settings](BucketSettings) define the default lifetime of its URLs.
    ///
    /// # Errors
    ///
    /// The request for the organization failed, or the storage endpoint is neither http nor https; or the errors of
    /// [`storage_http`](Self::storage_http).
    pub async fn bucket(&self) -> Result<Bucket, Error> {
        let organization = self.me().await?.organization;
        let Storage { settings, retry, clock, .. } = &self.storage;
        let signer = UrlSigner::hmac(
            &settings.endpoint,
            &settings.region,
            &organization.aignostics_bucket_hmac_access_key_id,
            &organization.aignostics_bucket_hmac_secret_access_key,
            clock.clone(),
        )?;
        let signer = signer.with_put_lifetime(settings.upload_lifetime).with_get_lifetime(settings.download_lifetime);
        let bucket = Bucket::new(self.storage_http()?.clone(), signer, organization.aignostics_bucket_name);
        let bucket = bucket.with_protocol(&settings.protocol).with_retry(*retry);
        Ok(bucket.with_upload_journal(self.storage.upload_journal.clone()))
    }

    /// Returns the downloader shared by all downloads of this client, with the retries of the
    /// [settings](crate::RetrySettings).
    ///
    /// # Errors
    ///
    /// The same as [`storage_http`](Self::storage_http).
    pub fn downloader(&self) -> Result<Downloader, Error> {
        self.storage.downloader().cloned()
    }

    /// Returns the HTTP client for the storage. It sends no credentials.
    ///
    /// # Errors
    ///
    /// It cannot be built. This happens only if a root certificate file has changed since this client was built.
    pub fn storage_http(&self) -> Result<&HttpClient, Error> {
        Ok(self.storage.downloader()?.http())
    }
}
