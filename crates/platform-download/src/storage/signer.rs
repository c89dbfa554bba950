//! V4 signed URLs for Google Cloud Storage and S3, with an HMAC key or a service account.

mod address;
mod error;
mod google;
mod service_account;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use auth_core::{Clock, Secret};
use auth_http::{Method, SignedUrl};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use error::Kind;

pub use address::ObjectAddress;
pub use error::SignError;
pub use service_account::{ServiceAccountError, ServiceAccountKey};

/// The permitted lifetime of a signed URL: one minute to seven days.
const LIFETIME_RANGE: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(7 * 24 * 60 * 60);

/// The default lifetime of a signed URL.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(6 * 60 * 60);

/// The characters to percent-encode: all except the unreserved ones (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The characters to percent-encode in a path, where `/` is a separator.
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// A signer of URLs for the objects of a storage. It signs with the HMAC key of an organization's bucket, or with the
/// key of a service account. Its `Debug` output contains no secret.
///
/// ```
/// use std::sync::Arc;
/// use auth_core::{Secret, SystemClock};
/// use platform_download::UrlSigner;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let endpoint = "https://storage.googleapis.com".parse()?;
/// let secret = Secret::new("secret access key");
/// let signer = UrlSigner::hmac(&endpoint, "EUROPE-WEST3", "GOOGKEY", &secret, Arc::new(SystemClock))?;
/// let url = signer.get_url(&"gs://slides/run 1/slide.svs".parse()?, None)?;
/// assert_eq!(url.expose().path(), "/slides/run%201/slide.svs");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct UrlSigner {
    endpoint: Url,
    key: SigningKey,
    clock: Arc<dyn Clock>,
    put_lifetime: Duration,
    get_lifetime: Duration,
}

#[derive(Clone)]
enum SigningKey {
    Hmac { region: String, id: String, secret: Secret },
    ServiceAccount(ServiceAccountKey),
}

/// A request to sign.
pub(crate) struct UnsignedRequest<'a> {
    pub(crate) method: Method,
    pub(crate) bucket: &'a str,
    /// The object key; `None` for the bucket itself.
    pub(crate) key: Option<&'a str>,
    /// Query parameters, sorted by name.
    pub(crate) query: &'a [(&'a str, &'a str)],
    /// Lower-case headers, sorted by name. They must be sent with the request.
    pub(crate) headers: &'a [(&'a str, &'a str)],
}

impl UrlSigner {
    /// Creates a signer with an HMAC key (`AWS4-HMAC-SHA256`) for the storage at `endpoint`, with path-style addresses.
    ///
    /// # Errors
    ///
    /// The endpoint is not an http or https URL.
    pub fn hmac(
        endpoint: &Url,
        region: &str,
        access_key_id: &str,
        secret_access_key: &Secret,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SignError> {
        let (region, id) = (region.to_owned(), access_key_id.to_owned());
        Self::new(endpoint, SigningKey::Hmac { region, id, secret: secret_access_key.clone() }, clock)
    }

    /// Creates a signer with the key of a service account (`GOOG4-RSA-SHA256`) for the storage at `endpoint`:
    /// `https://storage.googleapis.com` or an emulator.
    ///
    /// # Errors
    ///
    /// The endpoint is not an http or https URL.
    pub fn service_account(endpoint: &Url, key: ServiceAccountKey, clock: Arc<dyn Clock>) -> Result<Self, SignError> {
        Self::new(endpoint, SigningKey::ServiceAccount(key), clock)
    }

    fn new(endpoint: &Url, key: SigningKey, clock: Arc<dyn Clock>) -> Result<Self, SignError> {
        if !matches!(endpoint.scheme(), "http" | "https") {
            return Err(Kind::Endpoint.into());
        }
        let mut endpoint = endpoint.clone();
        endpoint.set_query(None);
        endpoint.set_fragment(None);
        // These setters fail only for URLs without a host, which the check above excludes.
        let _ = (endpoint.set_username(""), endpoint.set_password(None));
        Ok(Self { endpoint, key, clock, put_lifetime: DEFAULT_LIFETIME, get_lifetime: DEFAULT_LIFETIME })
    }

    /// Sets the default lifetime of PUT URLs, 60 s to 7 days. Without this setting, it is 6 hours.
    pub fn with_put_lifetime(mut self, lifetime: Duration) -> Self {
        self.put_lifetime = lifetime;
        self
    }

    /// Sets the default lifetime of GET URLs, 60 s to 7 days. Without this setting, it is 6 hours.
    pub fn with_get_lifetime(mut self, lifetime: Duration) -> Self {
        self.get_lifetime = lifetime;
        self
    }

    /// Returns a signed URL to PUT the object, valid for `lifetime` (60 s to 7 days), or for the
    /// [default](Self::with_put_lifetime) if it is `None`.
    ///
    /// # Errors
    ///
    /// [`SignError::is_lifetime`], or the clock is out of range.
    pub fn put_url(
        &self,
        object: &ObjectAddress,
        lifetime: impl Into<Option<Duration>>,
    ) -> Result<SignedUrl, SignError> {
        self.sign(&UnsignedRequest::of(Method::Put, object), lifetime.into().unwrap_or(self.put_lifetime))
    }

    /// Returns a signed URL to GET the object, valid for `lifetime` (60 s to 7 days), or for the
    /// [default](Self::with_get_lifetime) if it is `None`.
    ///
    /// # Errors
    ///
    /// [`SignError::is_lifetime`], or the clock is out of range.
    pub fn get_url(
        &self,
        object: &ObjectAddress,
        lifetime: impl Into<Option<Duration>>,
    ) -> Result<SignedUrl, SignError> {
        self.sign(&UnsignedRequest::of(Method::Get, object), lifetime.into().unwrap_or(self.get_lifetime))
    }

    pub(crate) fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// Returns a signed URL for a request of an upload, with the lifetime of PUT URLs.
    pub(crate) fn sign_put(&self, request: &UnsignedRequest<'_>) -> Result<SignedUrl, SignError> {
        self.sign(request, self.put_lifetime)
    }

    /// Returns a signed URL for one request. Fails for keys and bucket names whose URL would name another object.
    pub(crate) fn sign(&self, request: &UnsignedRequest<'_>, lifetime: Duration) -> Result<SignedUrl, SignError> {
        if !LIFETIME_RANGE.contains(&lifetime) {
            return Err(Kind::Lifetime(lifetime).into());
        }
        let now = Timestamp::try_from(self.clock.now()).map_err(|_| Kind::Clock)?;
        let url = self.url(request)?;
        let signed_url = match &self.key {
            SigningKey::Hmac { region, id, secret } => rusty_s3::signing::sign(
                &now,
                rusty_s3_method(request.method),
                url,
                id,
                secret.expose(),
                None,
                region,
                lifetime.as_secs(),
                request.query.iter().copied(),
                request.headers.iter().copied(),
            ),
            SigningKey::ServiceAccount(key) => google::sign(key, url, request, now, lifetime)?,
        };
        Ok(signed_url.into())
    }

    fn url(&self, request: &UnsignedRequest<'_>) -> Result<Url, SignError> {
        address::check_bucket(request.bucket)?;
        let mut path = format!("{}/{}", self.endpoint.path().trim_end_matches('/'), request.bucket);
        if let Some(key) = request.key {
            address::check_key(key)?;
            path += &format!("/{}", utf8_percent_encode(key, RESERVED_IN_PATH));
        }
        let mut url = self.endpoint.clone();
        url.set_path(&path);
        Ok(url)
    }
}

impl fmt::Debug for UrlSigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signer = match &self.key {
            SigningKey::Hmac { id, .. } => id.as_str(),
            SigningKey::ServiceAccount(key) => key.client_email(),
        };
        let mut output = formatter.debug_struct("UrlSigner");
        output.field("endpoint", &self.endpoint.as_str()).field("signer", &signer).finish_non_exhaustive()
    }
}

impl<'a> UnsignedRequest<'a> {
    pub(crate) fn of(method: Method, object: &'a ObjectAddress) -> Self {
        Self { method, bucket: object.bucket(), key: Some(object.key()), query: &[], headers: &[] }
    }
}

fn rusty_s3_method(method: Method) -> rusty_s3::Method {
    match method {
        Method::Head => rusty_s3::Method::Head,
        Method::Post => rusty_s3::Method::Post,
        Method::Put => rusty_s3::Method::Put,
        Method::Delete => rusty_s3::Method::Delete,
        _ => rusty_s3::Method::Get,
    }
}

#[cfg(test)]
mod tests;
