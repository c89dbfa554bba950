use std::sync::{Arc, OnceLock};

use auth_core::Clock;
use auth_http::retry::RetryPolicy;
use auth_http::{HttpClient, HttpClientBuilder};
use platform_download::{Bucket, Downloader, UrlSigner};

use crate::{BucketSettings, BuildError, Client, Error, Settings};

/// The way to the storage: without credentials, without decompression, and by HTTP/1.1, so that each worker has a
/// connection of its own.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    prepared: HttpClientBuilder,
    /// What all downloads of a client share, unless they bring their own. Made when it is needed: that takes all
    /// certificates of the system, and most calls never speak to the storage.
    downloader: Arc<OnceLock<Downloader>>,
    settings: BucketSettings,
    retry: RetryPolicy,
    clock: Arc<dyn Clock>,
}

impl Storage {
    pub(crate) fn new(http: HttpClientBuilder, settings: &Settings, clock: Arc<dyn Clock>) -> Self {
        let prepared = http.without_decompression().with_http1();
        let (settings, retry) = (settings.bucket.clone(), settings.retry.for_transfers());
        Self { prepared, downloader: Arc::default(), settings, retry, clock }
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
    /// The bucket of the caller's organisation, with which slides are uploaded and handed to the platform. Its URLs are
    /// good for as long as the [settings](BucketSettings) say, where nothing else is said.
    ///
    /// # Errors
    ///
    /// The platform could not be asked whom the token speaks for, or the endpoint of the storage is
    /// neither http nor https; or those of [`storage_http`](Self::storage_http).
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
        Ok(bucket.with_protocol(&settings.protocol).with_retry(*retry))
    }

    /// The downloader that all downloads of this client share, with the retries of the [settings](crate::RetrySettings).
    ///
    /// # Errors
    ///
    /// Those of [`storage_http`](Self::storage_http).
    pub fn downloader(&self) -> Result<Downloader, Error> {
        self.storage.downloader().cloned()
    }

    /// The client that the storage is spoken to with: it sends no credentials.
    ///
    /// # Errors
    ///
    /// It cannot be set up, which only happens if a file with root certificates has changed since this client was.
    pub fn storage_http(&self) -> Result<&HttpClient, Error> {
        Ok(self.storage.downloader()?.http())
    }
}
