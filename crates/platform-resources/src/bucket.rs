use std::sync::{Arc, OnceLock};

use auth_core::Clock;
use auth_http::{HttpClient, HttpClientBuilder};
use platform_download::{Bucket, Downloader, UrlSigner};

use crate::{BucketSettings, BuildError, Client, Error};

/// How the storage is reached: without credentials, without decompression.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    prepared: HttpClientBuilder,
    /// What all downloads of a client share, unless they bring their own. Made when it is needed: that takes all
    /// certificates of the system, and most calls never speak to the storage.
    downloader: Arc<OnceLock<Downloader>>,
    settings: BucketSettings,
    clock: Arc<dyn Clock>,
}

impl Storage {
    pub(crate) fn new(http: HttpClientBuilder, settings: BucketSettings, clock: Arc<dyn Clock>) -> Self {
        Self { prepared: http.without_decompression(), downloader: Arc::default(), settings, clock }
    }

    pub(crate) fn downloader(&self) -> Result<&Downloader, Error> {
        if let Some(downloader) = self.downloader.get() {
            return Ok(downloader);
        }
        let http = self.prepared.clone().build().map_err(BuildError::from)?;
        Ok(self.downloader.get_or_init(|| Downloader::new(http)))
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
        let Storage { settings, clock, .. } = &self.storage;
        let signer = UrlSigner::hmac(
            &settings.endpoint,
            &settings.region,
            &organization.aignostics_bucket_hmac_access_key_id,
            &organization.aignostics_bucket_hmac_secret_access_key,
            clock.clone(),
        )?;
        let signer = signer.with_put_lifetime(settings.upload_lifetime).with_get_lifetime(settings.download_lifetime);
        let bucket = Bucket::new(self.storage_http()?.clone(), signer, organization.aignostics_bucket_name);
        Ok(bucket.with_protocol(&settings.protocol))
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
