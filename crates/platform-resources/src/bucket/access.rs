//! The address and the key of the organization's bucket, for use with other tools.

use std::fmt;
use std::process::Command;

use auth_core::Secret;
use url::Url;

use crate::client::Client;
use crate::error::Error;

/// The host of Google Cloud Storage.
const GOOGLE_STORAGE_HOST: &str = "storage.googleapis.com";

/// The address and the key of the organization's bucket, for use with other tools. The `Debug` output does not contain
/// the key.
#[derive(Clone)]
#[non_exhaustive]
pub struct BucketAccess {
    /// The name of the bucket.
    pub bucket: String,
    /// The endpoint of the storage.
    pub endpoint: Url,
    /// The region.
    pub region: String,
    /// The id of the key.
    pub key_id: String,
    /// The secret of the key.
    pub secret: Secret,
}

impl Client {
    /// Returns the address and the key of the organization's bucket. The key does not expire, and gives access to all
    /// objects of the organization.
    ///
    /// # Errors
    ///
    /// The request for the organization failed.
    pub async fn bucket_access(&self) -> Result<BucketAccess, Error> {
        let organization = self.me().await?.organization;
        let settings = &self.storage.settings;
        Ok(BucketAccess {
            bucket: organization.aignostics_bucket_name,
            endpoint: settings.endpoint.clone(),
            region: settings.region.clone(),
            key_id: organization.aignostics_bucket_hmac_access_key_id,
            secret: organization.aignostics_bucket_hmac_secret_access_key,
        })
    }
}

impl BucketAccess {
    /// Returns the endpoint without a trailing slash.
    pub(super) fn endpoint(&self) -> &str {
        self.endpoint.as_str().trim_end_matches('/')
    }

    /// Returns the name by which rclone identifies the provider of the storage.
    pub(super) fn rclone_provider(&self) -> &'static str {
        if self.endpoint.host_str() == Some(GOOGLE_STORAGE_HOST) { "GCS" } else { "Other" }
    }

    /// Returns the environment variables that configure the bucket for rclone (remote `aignostics:`), s5cmd, the AWS
    /// command line and the AWS libraries. `AIGNOSTICS_BUCKET` contains its name.
    pub fn variables(&self) -> Vec<(&'static str, Secret)> {
        let as_secret = |text: &str| Secret::new(text);
        vec![
            ("AIGNOSTICS_BUCKET", as_secret(&self.bucket)),
            ("AWS_ACCESS_KEY_ID", as_secret(&self.key_id)),
            ("AWS_SECRET_ACCESS_KEY", self.secret.clone()),
            ("AWS_REGION", as_secret(&self.region)),
            ("AWS_DEFAULT_REGION", as_secret(&self.region)),
            ("AWS_ENDPOINT_URL_S3", as_secret(self.endpoint())),
            // The storage does not support the checksums that newer AWS tools add by default.
            ("AWS_REQUEST_CHECKSUM_CALCULATION", as_secret("when_required")),
            ("AWS_RESPONSE_CHECKSUM_VALIDATION", as_secret("when_required")),
            ("S3_ENDPOINT_URL", as_secret(self.endpoint())),
            ("RCLONE_CONFIG_AIGNOSTICS_TYPE", as_secret("s3")),
            ("RCLONE_CONFIG_AIGNOSTICS_PROVIDER", as_secret(self.rclone_provider())),
            ("RCLONE_CONFIG_AIGNOSTICS_ACCESS_KEY_ID", as_secret(&self.key_id)),
            ("RCLONE_CONFIG_AIGNOSTICS_SECRET_ACCESS_KEY", self.secret.clone()),
            ("RCLONE_CONFIG_AIGNOSTICS_ENDPOINT", as_secret(self.endpoint())),
            ("RCLONE_CONFIG_AIGNOSTICS_REGION", as_secret(&self.region)),
            ("RCLONE_CONFIG_AIGNOSTICS_NO_CHECK_BUCKET", as_secret("true")),
        ]
    }

    /// Returns the names of environment variables that would override the credentials in
    /// [`variables`](Self::variables).
    pub fn conflicting_variables() -> [&'static str; 6] {
        [
            "AWS_PROFILE",
            "AWS_DEFAULT_PROFILE",
            "AWS_SESSION_TOKEN",
            "AWS_SECURITY_TOKEN",
            "AWS_ENDPOINT_URL",
            "AWS_ROLE_ARN",
        ]
    }

    /// Sets the [`variables`](Self::variables) in the environment of a command, and removes
    /// [conflicting variables](Self::conflicting_variables).
    pub fn configure(&self, command: &mut Command) {
        for name in Self::conflicting_variables() {
            command.env_remove(name);
        }
        for (name, value) in self.variables() {
            command.env(name, value.expose());
        }
    }
}

impl fmt::Debug for BucketAccess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, endpoint, .. } = self;
        let endpoint = endpoint.as_str();
        formatter
            .debug_struct("BucketAccess")
            .field("bucket", bucket)
            .field("endpoint", &endpoint)
            .finish_non_exhaustive()
    }
}
