use std::fmt;
use std::str::FromStr;

use super::error::Kind;
use crate::SignError;

/// The address of an object: `gs://bucket/key`.
///
/// ```
/// use platform_download::ObjectAddress;
///
/// let object: ObjectAddress = "gs://slides/run 1/slide.svs".parse()?;
/// assert_eq!((object.bucket(), object.key()), ("slides", "run 1/slide.svs"));
/// assert_eq!(object, ObjectAddress::new("gs", "slides", "run 1/slide.svs")?);
/// assert!("gs://slides/../secrets/slide.svs".parse::<ObjectAddress>().is_err());
/// # Ok::<(), platform_download::SignError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectAddress {
    protocol: String,
    bucket: String,
    key: String,
}

impl ObjectAddress {
    /// Creates the address of the object `key` in `bucket`. `protocol` is the part before `://`, such as `gs`.
    ///
    /// # Errors
    ///
    /// [`SignError::is_address`]: the key is empty or has a segment `.` or `..`, or the bucket name is invalid.
    pub fn new(protocol: &str, bucket: &str, key: &str) -> Result<Self, SignError> {
        check_bucket(bucket)?;
        check_key(key)?;
        Ok(Self { protocol: protocol.to_owned(), bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// Returns the name of the bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Returns the key of the object, without percent-encoding.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// Checks that a bucket name is a single path segment that needs no encoding.
pub(super) fn check_bucket(bucket: &str) -> Result<(), SignError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_invalid = matches!(bucket, "" | "." | "..") || !bucket.bytes().all(is_allowed);
    if is_invalid { Err(Kind::Bucket(bucket.to_owned()).into()) } else { Ok(()) }
}

/// Rejects segments `.` and `..`, because URL parsers resolve them, and an empty key, because its URL names the bucket.
pub(super) fn check_key(key: &str) -> Result<(), SignError> {
    let is_invalid = key.is_empty() || key.split('/').any(|segment| matches!(segment, "." | ".."));
    if is_invalid { Err(Kind::Key(key.to_owned()).into()) } else { Ok(()) }
}

impl FromStr for ObjectAddress {
    type Err = SignError;

    fn from_str(text: &str) -> Result<Self, SignError> {
        let parts = text.split_once("://").and_then(|(protocol, rest)| Some((protocol, rest.split_once('/')?)));
        let parts = parts.filter(|(protocol, _)| {
            !protocol.is_empty() && protocol.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        });
        let (protocol, (bucket, key)) = parts.ok_or_else(|| Kind::Address(text.to_owned()))?;
        Self::new(protocol, bucket, key)
    }
}

impl fmt::Display for ObjectAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}/{}", self.protocol, self.bucket, self.key)
    }
}
