//! Error responses and checksum headers of the storage.

use std::fmt;
use std::time::Duration;

use auth_core::{Clock, SystemClock};
use auth_http::Response;
use auth_http::retry::is_transient_status;

use crate::Crc32c;
use crate::retry::Retryability;

/// The maximum size of an error response, in bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// An error response of the storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErrorResponse {
    pub(crate) status: u16,
    /// The error code, such as `AccessDenied`.
    code: Option<String>,
    /// The pause that the storage requested before a retry.
    pub(crate) retry_after: Option<Duration>,
}

impl ErrorResponse {
    pub(crate) async fn read(response: Response) -> Self {
        let (status, retry_after) = (response.status(), response.retry_after(SystemClock.now()));
        let body = response.bytes(MAX_ERROR_BYTES).await.unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
        let is_word =
            |code: &&str| !code.is_empty() && code.len() < 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        Self { status, code: code.map(|(code, _)| code).filter(is_word).map(str::to_owned), retry_after }
    }

    /// Creates the error for an error document in a response with status 200. The storage sends such a response if it
    /// fails after it has started to respond. The failure counts as a server error.
    pub(crate) fn with_status_200(code: &str) -> Self {
        Self { status: 500, code: Some(code.to_owned()), retry_after: None }
    }

    pub(crate) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Returns true if the same request may succeed later (RFC 9110, section 15.6).
    pub(crate) fn is_transient(&self) -> bool {
        is_transient_status(self.status)
    }

    /// Returns true if the storage rejects the URL, because it is invalid or has expired. For an expired URL, Google
    /// Cloud Storage returns 400 and S3 returns 403. A response to HEAD has no error code.
    pub(crate) fn rejects_url(&self) -> bool {
        matches!(self.status, 401 | 403)
            || self.status == 400 && self.code.as_ref().is_none_or(|code| code == "ExpiredToken")
    }

    pub(crate) fn retryability(&self) -> Retryability {
        match self {
            _ if self.is_transient() => Retryability::Always,
            _ if self.rejects_url() => Retryability::Once,
            _ => Retryability::Never,
        }
    }
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the storage responded with {}", self.status)?;
        self.code.iter().try_for_each(|code| write!(formatter, " ({code})"))
    }
}

/// Returns the CRC32C of an object in the header `x-goog-hash`.
pub(crate) fn storage_checksum(response: &Response) -> Option<Crc32c> {
    let mut hashes = response.headers("x-goog-hash").flat_map(|value| value.split(','));
    hashes.find_map(|hash| hash.trim().strip_prefix("crc32c=")?.parse().ok())
}
