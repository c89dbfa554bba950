use std::sync::Arc;

use auth_core::SystemClock;
use auth_http::HttpClient;
use platform_download::{Downloader, SignedBucket};
use url::Url;

use crate::{BucketSettings, Client, Error};

/// How the storage is reached: without credentials, without decompression.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    pub(crate) http: HttpClient,
    /// What all downloads of a client share, unless they bring their own.
    pub(crate) downloader: Downloader,
    endpoint: Url,
    region: String,
}

impl Storage {
    pub(crate) fn new(http: HttpClient, bucket: &BucketSettings) -> Self {
        let downloader = Downloader::new(http.clone());
        Self { http, downloader, endpoint: bucket.endpoint.clone(), region: bucket.region.clone() }
    }
}

impl Client {
    /// The bucket of the caller's organisation, with which slides are uploaded and handed to the platform.
    ///
    /// # Errors
    ///
    /// The platform could not be asked whom the token speaks for, or the endpoint of the storage is
    /// neither http nor https.
    pub async fn bucket(&self) -> Result<SignedBucket, Error> {
        let organization = self.me().await?.organization;
        let bucket = SignedBucket::new(
            self.storage.endpoint.clone(),
            &organization.aignostics_bucket_name,
            &self.storage.region,
            &organization.aignostics_bucket_hmac_access_key_id,
            &organization.aignostics_bucket_hmac_secret_access_key,
            Arc::new(SystemClock),
        );
        Ok(bucket?)
    }

    /// The client that the storage is spoken to with: it sends no credentials.
    pub fn storage_http(&self) -> &HttpClient {
        &self.storage.http
    }
}
