use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest, checksum_combine};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A CRC32C checksum (Castagnoli, RFC 3720, appendix B.4). Its text form is the base64 encoding of its four bytes in
/// big-endian order, as the platform's API and Google Cloud Storage use it.
///
/// ```
/// use platform_download::Crc32c;
///
/// assert_eq!(Crc32c::of(b"hello world").to_string(), "yZRlqg==");
/// assert_eq!("yZRlqg==".parse(), Ok(Crc32c::of(b"hello world")));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Crc32c(u32);

impl Crc32c {
    /// Returns the checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::default().append(bytes)
    }

    /// Returns the checksum of the data so far followed by `bytes`.
    pub fn append(self, bytes: &[u8]) -> Self {
        let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!self.0));
        digest.update(bytes);
        Self::narrow(digest.finalize())
    }

    /// Returns the checksum of the data so far followed by `length` bytes with the checksum `next`.
    ///
    /// ```
    /// use platform_download::Crc32c;
    ///
    /// assert_eq!(Crc32c::of(b"hello ").combine(Crc32c::of(b"world"), 5), Crc32c::of(b"hello world"));
    /// ```
    pub fn combine(self, next: Self, length: u64) -> Self {
        Self::narrow(checksum_combine(CrcAlgorithm::Crc32Iscsi, self.0.into(), next.0.into(), length))
    }

    #[expect(clippy::cast_possible_truncation, reason = "a CRC32C has 32 bits")]
    fn narrow(crc: u64) -> Self {
        Self(crc as u32)
    }
}

impl From<u32> for Crc32c {
    fn from(value: u32) -> Self {
        Self(value)
    }
}

impl From<Crc32c> for u32 {
    fn from(crc32c: Crc32c) -> Self {
        crc32c.0
    }
}

/// The error of parsing a text that is not a [`Crc32c`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a CRC32C: expected eight characters of base64, such as yZRlqg==")]
pub struct Crc32cError;

impl FromStr for Crc32c {
    type Err = Crc32cError;

    fn from_str(text: &str) -> Result<Self, Crc32cError> {
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(|bytes| Self(u32::from_be_bytes(bytes))).ok_or(Crc32cError)
    }
}

impl fmt::Display for Crc32c {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&STANDARD.encode(self.0.to_be_bytes()))
    }
}

impl Serialize for Crc32c {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Crc32c {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
