use std::sync::Arc;

use auth_core::Clock;
use auth_http::HttpClient;
use platform_download::{Bucket, Downloader, UrlSigner};

use crate::{BucketSettings, Client, Error};

/// How the storage is reached: without credentials, without decompression.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    pub(crate) http: HttpClient,
    /// What all downloads of a client share, unless they bring their own.
    pub(crate) downloader: Downloader,
    settings: BucketSettings,
    clock: Arc<dyn Clock>,
}

impl Storage {
    pub(crate) fn new(http: HttpClient, settings: BucketSettings, clock: Arc<dyn Clock>) -> Self {
        let downloader = Downloader::new(http.clone());
        Self { http, downloader, settings, clock }
    }
}

impl Client {
    /// The bucket of the caller's organisation, with which slides are uploaded and handed to the platform. Its URLs are
    /// good for as long as the [settings](BucketSettings) say, where nothing else is said.
    ///
    /// # Errors
    ///
    /// The platform could not be asked whom the token speaks for, or the endpoint of the storage is
    /// neither http nor https.
    pub async fn bucket(&self) -> Result<Bucket, Error> {
        let organization = self.me().await?.organization;
        let Storage { http, settings, clock, .. } = &self.storage;
        let signer = UrlSigner::hmac(
            &settings.endpoint,
            &settings.region,
            &organization.aignostics_bucket_hmac_access_key_id,
            &organization.aignostics_bucket_hmac_secret_access_key,
            clock.clone(),
        )?;
        let signer = signer.with_put_lifetime(settings.upload_lifetime).with_get_lifetime(settings.download_lifetime);
        let bucket = Bucket::new(http.clone(), signer, organization.aignostics_bucket_name);
        Ok(bucket.with_protocol(&settings.protocol))
    }

    /// The client that the storage is spoken to with: it sends no credentials.
    pub fn storage_http(&self) -> &HttpClient {
        &self.storage.http
    }
}
