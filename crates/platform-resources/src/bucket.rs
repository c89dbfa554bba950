mod access;
mod tools;

use auth_http::HttpClient;
use platform_download::{Bucket, Downloader, UrlSigner};
#[cfg(feature = "object-store")]
use platform_download::{BucketCopy, Store, StoreAddress};

use crate::client::Client;
use crate::error::Error;
use crate::storage::Storage;

pub use access::BucketAccess;
pub use tools::{BucketTool, BucketToolFile};

impl Client {
    /// Returns the bucket of the caller's organization, for uploading slides and signing URLs for the platform. The
    /// [settings](crate::BucketSettings) define the default lifetime of its URLs.
    ///
    /// # Errors
    ///
    /// The request for the organization failed, the storage endpoint is neither http nor https, or
    /// [`storage_http`](Self::storage_http) failed.
    pub async fn bucket(&self) -> Result<Bucket, Error> {
        let organization = self.me().await?.organization;
        let Storage { settings, retry, clock, transfer, rate_limit, .. } = &self.storage;
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
        let bucket = transfer.jobs().into_iter().fold(bucket, Bucket::with_upload_jobs);
        let bucket = transfer.chunk_size().into_iter().fold(bucket, Bucket::with_upload_part_size);
        let bucket = transfer.upload_read_timeout.into_iter().fold(bucket, Bucket::with_upload_read_timeout);
        let bucket = rate_limit.iter().cloned().fold(bucket, Bucket::with_rate_limit);
        Ok(bucket.with_upload_journal(self.storage.upload_journal.clone()))
    }

    /// Prepares a copy of the objects at `source` to a [bucket](Self::bucket). The source is opened with the
    /// credentials of the environment ([`Store::open_source`](platform_download::Store::open_source)), not with the tokens
    /// of this client.
    ///
    /// # Errors
    ///
    /// The store cannot be opened.
    #[cfg(feature = "object-store")]
    pub fn bucket_copy(&self, bucket: Bucket, source: &StoreAddress) -> Result<BucketCopy, Error> {
        let store = Store::open_source(source, self.storage.http_builder(), self.storage.retry)?;
        Ok(BucketCopy::new(bucket, store, source.clone()))
    }

    /// Returns the downloader that all downloads of this client share. It uses the retry policy of the
    /// [settings](crate::RetrySettings).
    ///
    /// # Errors
    ///
    /// The same as [`storage_http`](Self::storage_http).
    pub fn downloader(&self) -> Result<Downloader, Error> {
        self.storage.downloader().cloned()
    }

    /// Returns the HTTP client for requests to the storage. It sends no credentials.
    ///
    /// # Errors
    ///
    /// The HTTP client cannot be built. This happens only if a file with root certificates was changed after this
    /// client was built.
    pub fn storage_http(&self) -> Result<&HttpClient, Error> {
        Ok(self.storage.downloader()?.http())
    }
}
