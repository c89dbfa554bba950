//! Interpretation of a storage response by its status and headers.

use std::ops::Range;
use std::time::Duration;

use auth_core::{Clock, SystemClock};
use auth_http::retry::is_transient_status;

use crate::checksum::Crc32c;
use crate::transfer::partial_file::Object;

/// The status and the headers of a response.
pub(crate) trait ResponseHead {
    fn status(&self) -> u16;
    fn header(&self, name: &str) -> Option<&str>;
    fn retry_after(&self) -> Option<Duration>;
}

impl ResponseHead for auth_http::Response {
    fn status(&self) -> u16 {
        Self::status(self)
    }

    fn header(&self, name: &str) -> Option<&str> {
        Self::header(self, name)
    }

    fn retry_after(&self) -> Option<Duration> {
        Self::retry_after(self, SystemClock.now())
    }
}

/// The validators of an object: its entity tag and its generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Validator {
    pub(crate) etag: Option<String>,
    pub(crate) generation: Option<String>,
}

impl Validator {
    pub(crate) fn of(object: &Object) -> Self {
        Self { etag: object.etag.clone(), generation: object.generation.clone() }
    }

    fn from_head(head: &impl ResponseHead) -> Self {
        let owned_header = |name| head.header(name).map(str::to_owned);
        Self { etag: owned_header("etag"), generation: owned_header("x-goog-generation") }
    }

    /// Returns true unless both have a validator of the same kind and these differ.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        let differ = |left: &Option<String>, right: &Option<String>| left.is_some() && right.is_some() && left != right;
        !differ(&self.etag, &other.etag) && !differ(&self.generation, &other.generation)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.etag.is_none() && self.generation.is_none()
    }
}

/// The interpretation of a response to a request for a file or a range of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TransferResponse {
    /// The body is a range of an object of `bytes` bytes. `storage_crc32c` is the checksum of the whole object.
    Partial { range: Range<u64>, bytes: u64, validator: Validator, storage_crc32c: Option<Crc32c> },
    /// The body is the whole object. `bytes` is its length, if the response contains it.
    Whole { bytes: Option<u64>, validator: Validator, storage_crc32c: Option<Crc32c> },
    /// The object ends before the range. `bytes` is its length, if the response contains it.
    Beyond { bytes: Option<u64> },
    /// The storage rejects the URL with this status, usually because it has expired.
    Refused(u16),
    /// The failure is transient. `retry_after` is the pause that the storage requested.
    Unavailable { status: u16, retry_after: Option<Duration> },
    /// The request failed permanently with this status.
    Failed(u16),
    /// The response does not match the request.
    Malformed(&'static str),
}

/// Returns the content encoding of a response, unless it is `identity`.
pub(crate) fn encoding(head: &impl ResponseHead) -> Option<&str> {
    head.header("content-encoding").filter(|encoding| !encoding.trim().eq_ignore_ascii_case("identity"))
}

/// Returns true if the object was neither stored nor sent with a content encoding.
fn is_unencoded(head: &impl ResponseHead) -> bool {
    head.header("x-goog-stored-content-encoding").is_none_or(|encoding| encoding == "identity")
        && encoding(head).is_none()
}

impl TransferResponse {
    /// Interprets a response to a request for the bytes from `start`, or for all bytes if `start` is `None`.
    pub(crate) fn of(head: &impl ResponseHead, start: Option<u64>) -> Self {
        let validator = Validator::from_head(head);
        let storage_crc32c = storage_checksum(head);
        match (head.status(), start) {
            (206, Some(start)) => match head.header("content-range").and_then(content_range) {
                Some((range, bytes)) if range.start == start => {
                    Self::Partial { range, bytes, validator, storage_crc32c }
                }
                Some(_) => Self::Malformed("its Content-Range does not start at the requested offset"),
                None => Self::Malformed("it is partial, but has no valid Content-Range"),
            },
            (200, _) => {
                let length = head.header("content-length").and_then(|text| text.parse().ok());
                Self::Whole { bytes: length, validator, storage_crc32c }
            }
            (416, Some(_)) => Self::Beyond { bytes: head.header("content-range").and_then(unsatisfied_length) },
            // For an expired URL, Google Cloud Storage returns 400 and S3 returns 403.
            (status @ (400 | 401 | 403), _) => Self::Refused(status),
            (status, _) if is_transient_status(status) => Self::Unavailable { status, retry_after: head.retry_after() },
            (status, _) => Self::Failed(status),
        }
    }
}

/// Returns the checksum in the header `x-goog-hash`, if it is the checksum of the sent bytes.
fn storage_checksum(head: &impl ResponseHead) -> Option<Crc32c> {
    let hashes = Some(head).filter(|head| is_unencoded(*head))?.header("x-goog-hash")?;
    hashes.split(',').find_map(|hash| hash.trim().strip_prefix("crc32c=")?.parse().ok())
}

/// Parses a `Content-Range` such as `bytes 0-9/20` (RFC 9110, section 14.4). A range without a length is not supported.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, bytes) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, bytes): (u64, u64, u64) = (first.parse().ok()?, last.parse().ok()?, bytes.parse().ok()?);
    (first <= last && last < bytes).then(|| (first..last + 1, bytes))
}

/// Parses the `Content-Range` of an unsatisfiable range, such as `bytes */20`, and returns the length.
fn unsatisfied_length(text: &str) -> Option<u64> {
    text.trim().strip_prefix("bytes */")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct TestHead(u16, &'static [(&'static str, &'static str)]);

    impl ResponseHead for TestHead {
        fn status(&self) -> u16 {
            self.0
        }

        fn header(&self, name: &str) -> Option<&str> {
            self.1.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
        }

        fn retry_after(&self) -> Option<Duration> {
            self.header("retry-after")?.parse().ok().map(Duration::from_secs)
        }
    }

    #[test]
    fn partial_response_must_start_at_the_requested_offset() {
        let partial_response = |text: &'static str| {
            let headers = Box::leak(Box::new([("content-range", text)]));
            TransferResponse::of(&TestHead(206, headers), Some(5))
        };
        let TransferResponse::Partial { range, bytes, .. } = partial_response("bytes 5-9/20") else {
            panic!("expected a range")
        };
        assert_eq!((range, bytes), (5..10, 20));
        for text in [
            "bytes 6-9/20",
            "bytes 0-9/20",
            "bytes 5-20/20",
            "bytes 9-5/20",
            "bytes 5-9/*",
            "5-9/20",
            "",
            "bytes -5-9/20",
        ] {
            assert!(matches!(partial_response(text), TransferResponse::Malformed(_)), "{text}");
        }
        assert!(matches!(TransferResponse::of(&TestHead(206, &[]), Some(5)), TransferResponse::Malformed(_)));
    }

    #[test]
    fn statuses_are_classified() {
        let response = |status| TransferResponse::of(&TestHead(status, &[("retry-after", "7")]), Some(0));
        for status in [400, 401, 403] {
            assert_eq!(response(status), TransferResponse::Refused(status));
        }
        for status in [408, 429, 500, 503] {
            assert_eq!(
                response(status),
                TransferResponse::Unavailable { status, retry_after: Some(Duration::from_secs(7)) }
            );
        }
        for status in [204, 301, 307, 404, 410] {
            assert_eq!(response(status), TransferResponse::Failed(status));
        }
        assert_eq!(
            TransferResponse::of(&TestHead(416, &[("content-range", "bytes */0")]), Some(0)),
            TransferResponse::Beyond { bytes: Some(0) }
        );
    }

    #[test]
    fn checksum_of_encoded_content_is_ignored() {
        let hash = ("x-goog-hash", "crc32c=yZRlqg==,md5=abc");
        let storage_crc32c = |headers: &'static [(&'static str, &'static str)]| match TransferResponse::of(
            &TestHead(200, headers),
            None,
        ) {
            TransferResponse::Whole { storage_crc32c, .. } => storage_crc32c,
            other => panic!("{other:?}"),
        };
        assert_eq!(storage_crc32c(Box::leak(Box::new([hash]))), Some(Crc32c::of(b"hello world")));
        for encoding in [("x-goog-stored-content-encoding", "gzip"), ("content-encoding", "gzip")] {
            assert_eq!(storage_crc32c(Box::leak(Box::new([hash, encoding]))), None, "{encoding:?}");
        }
    }

    #[test]
    fn validators_match_unless_a_common_validator_differs() {
        let validator = |etag: Option<&str>, generation: Option<&str>| Validator {
            etag: etag.map(str::to_owned),
            generation: generation.map(str::to_owned),
        };
        assert!(validator(Some("a"), Some("1")).matches(&validator(Some("a"), Some("1"))));
        assert!(validator(Some("a"), None).matches(&validator(None, Some("1"))) && validator(None, None).is_empty());
        assert!(!validator(Some("a"), Some("1")).matches(&validator(Some("a"), Some("2"))));
        assert!(!validator(Some("a"), None).matches(&validator(Some("b"), None)));
    }
}
