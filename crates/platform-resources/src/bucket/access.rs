//! The access to the organization's bucket, for other tools.

use std::fmt;
use std::process::Command;

use auth_core::Secret;
use url::Url;

use crate::client::Client;
use crate::error::Error;

/// The host of Google's storage.
const GOOGLE: &str = "storage.googleapis.com";

/// The name of the organization's bucket and its key, in the forms of other tools. Its `Debug` does not show the key.
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
    /// Returns the access of the caller's organization to its bucket. The key does not expire, and gives access to all
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

    /// Returns rclone's name for the storage.
    pub(super) fn rclone_provider(&self) -> &'static str {
        if self.endpoint.host_str() == Some(GOOGLE) { "GCS" } else { "Other" }
    }

    /// Returns the environment variables with which rclone (remote `aignostics:`), s5cmd, the AWS command line and its
    /// libraries use the bucket. `AIGNOSTICS_BUCKET` has its name.
    pub fn variables(&self) -> Vec<(&'static str, Secret)> {
        let plain = |text: &str| Secret::new(text);
        vec![
            ("AIGNOSTICS_BUCKET", plain(&self.bucket)),
            ("AWS_ACCESS_KEY_ID", plain(&self.key_id)),
            ("AWS_SECRET_ACCESS_KEY", self.secret.clone()),
            ("AWS_REGION", plain(&self.region)),
            ("AWS_DEFAULT_REGION", plain(&self.region)),
            ("AWS_ENDPOINT_URL_S3", plain(self.endpoint())),
            // The storage does not know the checksums that newer versions add.
            ("AWS_REQUEST_CHECKSUM_CALCULATION", plain("when_required")),
            ("AWS_RESPONSE_CHECKSUM_VALIDATION", plain("when_required")),
            ("S3_ENDPOINT_URL", plain(self.endpoint())),
            ("RCLONE_CONFIG_AIGNOSTICS_TYPE", plain("s3")),
            ("RCLONE_CONFIG_AIGNOSTICS_PROVIDER", plain(self.rclone_provider())),
            ("RCLONE_CONFIG_AIGNOSTICS_ACCESS_KEY_ID", plain(&self.key_id)),
            ("RCLONE_CONFIG_AIGNOSTICS_SECRET_ACCESS_KEY", self.secret.clone()),
            ("RCLONE_CONFIG_AIGNOSTICS_ENDPOINT", plain(self.endpoint())),
            ("RCLONE_CONFIG_AIGNOSTICS_REGION", plain(&self.region)),
            ("RCLONE_CONFIG_AIGNOSTICS_NO_CHECK_BUCKET", plain("true")),
        ]
    }

    /// Returns the variables of the caller that would change the credentials of [`variables`](Self::variables).
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

    /// Sets the [`variables`](Self::variables) of a command, and removes the
    /// [conflicting](Self::conflicting_variables) ones.
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
