//! The effects that a fault can have on a request.

use serde::{Deserialize, Serialize};

/// The effect of a fault on a request.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Effect {
    /// The response is delayed.
    Latency {
        /// The delay in milliseconds.
        milliseconds: u64,
    },
    /// The response has this status. The request has no other effect.
    Status {
        /// A status from 200 to 599.
        status: u16,
        /// The body of the response; empty by default.
        #[serde(default)]
        body: Option<String>,
    },
    /// The response has an error status and a `Retry-After` header. The request has no other effect.
    Throttle {
        /// A status from 400 to 599; 429 by default.
        #[serde(default = "too_many_requests")]
        status: u16,
        /// The time to wait before a retry, in seconds.
        retry_after_seconds: u64,
        /// If true, the header is a date according to the platform's clock. Otherwise it is a number of seconds.
        #[serde(default)]
        as_date: bool,
    },
    /// The connection is reset after at most this number of bytes of the response body. The request is processed. With
    /// 0, no part of the response is sent. Over HTTP/2, the reset ends all requests of the connection.
    Reset {
        /// The number of bytes of the response body.
        after_bytes: u64,
    },
    /// The connection is closed after this number of bytes of the response body. Over HTTP/2, only the stream ends.
    Truncate {
        /// The number of bytes of the response body.
        after_bytes: u64,
    },
    /// The response stalls after this number of bytes of its body, and the connection stays open.
    Stall {
        /// The number of bytes of the response body.
        after_bytes: u64,
    },
    /// The connection is reset when this number of bytes of the request body has been read. With 0, the request is not
    /// processed.
    ResetRequest {
        /// The number of bytes of the request body.
        after_bytes: u64,
    },
    /// Reading stalls after this number of bytes of the request body, and the connection stays open.
    StallRequest {
        /// The number of bytes of the request body.
        after_bytes: u64,
    },
    /// One bit of the response body is flipped.
    Corrupt {
        /// The index of the byte, starting at 0.
        at_byte: u64,
    },
    /// The response body is sent at a limited rate.
    Bandwidth {
        /// The rate in bytes per second, at least 1.
        bytes_per_second: u64,
    },
    /// The storage reports that the signature of the URL has expired.
    ExpiredSignature,
    /// The `Content-Range` header of the storage contains a range that begins and ends one byte after the actual range.
    WrongContentRange,
    /// The object is replaced by another of the same size before it is served.
    ReplacedObject,
    /// The API adds unknown fields and unknown enumeration values to the response, like a newer version of the
    /// platform.
    Novelty,
}

/// Returns the default status of a throttled response (RFC 6585, section 4).
fn too_many_requests() -> u16 {
    429
}

impl Effect {
    /// Validates the values. The error describes the problem.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            // RFC 9110, sections 15.3.5 and 15.4.5.
            Self::Status { status: status @ (204 | 205 | 304), body: Some(_) } => {
                Err(format!("a response with the status {status} cannot have a body"))
            }
            Self::Status { status, .. } if !(200..600).contains(status) => {
                Err(format!("the status {status} is not within 200 to 599"))
            }
            Self::Throttle { status, .. } if !(400..600).contains(status) => {
                Err(format!("the status {status} is not within 400 to 599"))
            }
            Self::Throttle { retry_after_seconds: seconds, .. } if *seconds > MAX_RETRY_AFTER_SECONDS => {
                Err(format!("retry_after_seconds, {seconds}, must be at most {MAX_RETRY_AFTER_SECONDS}"))
            }
            Self::Bandwidth { bytes_per_second: 0 } => Err("the bandwidth must be at least 1".to_owned()),
            _ => Ok(()),
        }
    }
}

/// The maximum of `retry_after_seconds`: ten years.
const MAX_RETRY_AFTER_SECONDS: u64 = 10 * 365 * 24 * 60 * 60;
