//! The sizes that an upload may have (`x-goog-content-length-range`).

use std::ops::RangeInclusive;

use axum::http::{HeaderMap, StatusCode, header};

use super::Refusal;

/// The maximum size of an object: 5 TiB.
const LARGEST: u64 = 5 << 40;

pub(super) struct LengthRange(RangeInclusive<u64>);

impl LengthRange {
    /// Reads the range of the whole object; this request may carry only a part.
    pub(super) fn of_object(headers: &HeaderMap) -> Result<Self, Refusal> {
        let Some(text) = headers.get("x-goog-content-length-range") else { return Ok(Self::any()) };
        text.to_str().ok().and_then(parse).map(Self).ok_or_else(|| {
            Refusal::invalid("x-goog-content-length-range must be two numbers with a comma between them")
        })
    }

    /// Returns the range of all sizes.
    pub(super) fn any() -> Self {
        Self(0..=LARGEST)
    }

    /// Returns the part of the range within these limits.
    pub(super) fn within(&self, least: u64, most: u64) -> Self {
        Self(least.max(*self.0.start())..=most.min(*self.0.end()))
    }

    /// Reads the range, and rejects a stated length that is outside of it.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
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
    pub(super) fn check_maximum(&self, bytes: u64) -> Result<(), Refusal> {
        let most = *self.0.end();
        let message = || format!("the object has more than {most} bytes");
        if bytes <= most { Ok(()) } else { Err(Refusal::new(StatusCode::BAD_REQUEST, "EntityTooLarge", message())) }
    }

    /// Rejects a complete body with fewer bytes.
    pub(super) fn check_minimum(&self, bytes: u64) -> Result<(), Refusal> {
        let least = *self.0.start();
        let message = || format!("the object has fewer than {least} bytes");
        if bytes >= least { Ok(()) } else { Err(Refusal::new(StatusCode::BAD_REQUEST, "EntityTooSmall", message())) }
    }
}

fn parse(text: &str) -> Option<RangeInclusive<u64>> {
    let (least, most) = text.split_once(',')?;
    let (least, most): (u64, u64) = (least.trim().parse().ok()?, most.trim().parse().ok()?);
    (least <= most).then(|| least..=most.min(LARGEST))
}
