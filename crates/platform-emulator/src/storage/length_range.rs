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
    pub(super) fn of_object(headers: &HeaderMap) -> Result<Self, StorageError> {
        let Some(text) = headers.get("x-goog-content-length-range") else { return Ok(Self::any()) };
        text.to_str().ok().and_then(parse).map(Self).ok_or_else(|| {
            StorageError::invalid("x-goog-content-length-range must be two numbers with a comma between them")
        })
    }

    /// Returns the range without a restriction.
    pub(super) fn any() -> Self {
        Self(0..=MAX_OBJECT_BYTES)
    }

    /// Returns the intersection with the range from `least` to `most` bytes.
    pub(super) fn intersect(&self, least: u64, most: u64) -> Self {
        Self(least.max(*self.0.start())..=most.min(*self.0.end()))
    }

    /// Reads the permitted sizes, and rejects a request whose length is not permitted.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, StorageError> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let range = Self::of_object(headers)?;
        let length = text("x-amz-decoded-content-length").or_else(|| text(header::CONTENT_LENGTH.as_str()));
        if let Some(length) = length.and_then(|text| text.parse().ok()) {
            range.check_maximum(length)?;
            range.check_minimum(length)?;
        }
        Ok(range)
    }

    /// Rejects a body with more bytes.
    pub(super) fn check_maximum(&self, bytes: u64) -> Result<(), StorageError> {
        let most = *self.0.end();
        let message = || format!("the object has more than {most} bytes");
        if bytes <= most {
            Ok(())
        } else {
            Err(StorageError::new(StatusCode::BAD_REQUEST, "EntityTooLarge", message()))
        }
    }

    /// Rejects a complete body with fewer bytes.
    pub(super) fn check_minimum(&self, bytes: u64) -> Result<(), StorageError> {
        let least = *self.0.start();
        let message = || format!("the object has fewer than {least} bytes");
        if bytes >= least {
            Ok(())
        } else {
            Err(StorageError::new(StatusCode::BAD_REQUEST, "EntityTooSmall", message()))
        }
    }
}

fn parse(text: &str) -> Option<RangeInclusive<u64>> {
    let (least, most) = text.split_once(',')?;
    let (least, most): (u64, u64) = (least.trim().parse().ok()?, most.trim().parse().ok()?);
    (least <= most).then(|| least..=most.min(MAX_OBJECT_BYTES))
}
