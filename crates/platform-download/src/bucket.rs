use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use auth_core::{Clock, Secret};
use auth_http::SignedUrl;
use jiff::Timestamp;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use url::Url;

/// How long a signed URL can be good for: a minute to seven days.
const LIFETIMES: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(7 * 24 * 60 * 60);

/// Makes signed URLs (V4 by HMAC-SHA256) for the objects of a bucket.
#[derive(Clone)]
pub struct SignedBucket {
    bucket: Bucket,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
}

/// A signed URL cannot be made.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BucketError(#[from] Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("the endpoint of the storage is no http or https URL")]
    Endpoint,
    #[error("a signed URL is good for a minute to seven days, not for {0:?}")]
    Lifetime(Duration),
    #[error("the object key `{0}` has a segment that is empty, `.` or `..`, so its URL would name another object")]
    Key(String),
    #[error("the clock shows no time that a URL can be signed for")]
    Clock,
}

impl SignedBucket {
    /// The bucket `name` of the storage at `endpoint`, addressed by path.
    ///
    /// # Errors
    ///
    /// The endpoint is no http or https URL.
    pub fn new(
        endpoint: Url,
        name: &str,
        region: &str,
        access_key_id: &str,
        secret_access_key: &Secret,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BucketError> {
        let bucket =
            Bucket::new(endpoint, UrlStyle::Path, name.to_owned(), region.to_owned()).map_err(|_| Kind::Endpoint)?;
        Ok(Self { bucket, credentials: Credentials::new(access_key_id, secret_access_key.expose()), clock })
    }

    /// A URL that whoever has it can PUT the object `key` to.
    ///
    /// # Errors
    ///
    /// `lifetime` is not within a minute and seven days, or `key` has a segment that is empty, `.` or `..`.
    pub fn put_url(&self, key: &str, lifetime: Duration) -> Result<SignedUrl, BucketError> {
        self.sign(&self.bucket.put_object(Some(&self.credentials), checked(key)?), lifetime)
    }

    /// A URL that whoever has it can GET the object `key` from.
    ///
    /// # Errors
    ///
    /// `lifetime` is not within a minute and seven days, or `key` has a segment that is empty, `.` or `..`.
    pub fn get_url(&self, key: &str, lifetime: Duration) -> Result<SignedUrl, BucketError> {
        self.sign(&self.bucket.get_object(Some(&self.credentials), checked(key)?), lifetime)
    }

    fn sign<'a>(&self, action: &impl S3Action<'a>, lifetime: Duration) -> Result<SignedUrl, BucketError> {
        if !LIFETIMES.contains(&lifetime) {
            return Err(Kind::Lifetime(lifetime).into());
        }
        let now = Timestamp::try_from(self.clock.now()).map_err(|_| Kind::Clock)?;
        Ok(action.sign_with_time(lifetime, &now).into())
    }
}

/// A key whose URL names it and nothing else.
fn checked(key: &str) -> Result<&str, BucketError> {
    let astray = key.split('/').any(|segment| matches!(segment, "" | "." | ".."));
    if astray { Err(Kind::Key(key.to_owned()).into()) } else { Ok(key) }
}

impl fmt::Debug for SignedBucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SignedBucket").field("bucket", &self.bucket.name()).finish_non_exhaustive()
    }
}
