//! The permitted sizes of an upload (`x-goog-content-length-range`).

use std::ops::RangeInclusive;

use axum::http::{HeaderMap, StatusCode, header};

use super::StorageError;

/// The maximum size of an object in bytes: 5 TiB.
const MAX_OBJECT_BYTES: u64 = 5 << 40;

pub(super) struct LengthRange(RangeInclusive<u64>);

impl LengthRange {
    /// Reads the permitted sizes of the whole object. The length of the request is not checked, because it may contain
    /// only a part of the object.
    pub(super) fn for_object(headers: &HeaderMap) -> Result<Self, StorageError> {
        let Some(text) = headers.get("x-goog-content-length-range") else { return Ok(Self::unlimited()) };
        text.to_str().ok().and_then(parse_range).map(Self).ok_or_else(|| {
            StorageError::invalid("x-goog-content-length-range must be two numbers with a comma between them")
        })
    }

    /// Returns the range that permits all sizes up to the maximum size of an object.
    pub(super) fn unlimited() -> Self {
        Self(0..=MAX_OBJECT_BYTES)
    }

    /// Returns the intersection with the range from `minimum` to `maximum` bytes.
    pub(super) fn intersect(&self, minimum: u64, maximum: u64) -> Self {
        Self(minimum.max(*self.0.start())..=maximum.min(*self.0.end()))
    }

    /// Reads the permitted sizes, and rejects a request whose length is not permitted.
    pub(super) fn for_request(headers: &HeaderMap) -> Result<Self, StorageError> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let range = Self::for_object(headers)?;
        let length = text("x-amz-decoded-content-length").or_else(|| text(header::CONTENT_LENGTH.as_str()));
        if let Some(length) = length.and_then(|text| text.parse().ok()) {
            range.check_maximum(length)?;
            range.check_minimum(length)?;
        }
        Ok(range)
    }

    /// Rejects a body with more bytes than permitted.
    pub(super) fn check_maximum(&self, bytes: u64) -> Result<(), StorageError> {
        let maximum = *self.0.end();
        let message = || format!("the object has more than {maximum} bytes");
        if bytes <= maximum {
            Ok(())
        } else {
            Err(StorageError::new(StatusCode::BAD_REQUEST, "EntityTooLarge", message()))
        }
    }

    /// Rejects a complete body with fewer bytes than permitted.
    pub(super) fn check_minimum(&self, bytes: u64) -> Result<(), StorageError> {
        let minimum = *self.0.start();
        let message = || format!("the object has fewer than {minimum} bytes");
        if bytes >= minimum {
            Ok(())
        } else {
            Err(StorageError::new(StatusCode::BAD_REQUEST, "EntityTooSmall", message()))
        }
    }
}

fn parse_range(text: &str) -> Option<RangeInclusive<u64>> {
    let (minimum, maximum) = text.split_once(',')?;
    let (minimum, maximum): (u64, u64) = (minimum.trim().parse().ok()?, maximum.trim().parse().ok()?);
    (minimum <= maximum).then(|| minimum..=maximum.min(MAX_OBJECT_BYTES))
}
