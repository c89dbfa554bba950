//! Conditional and range requests: ranges, validators and generations (RFC 9110, sections 13 and 14).

use std::ops::Range;

use axum::http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::{Object, StorageError};

/// The part of an object to send.
pub(super) enum Selection {
    Whole,
    Part(Range<u64>),
}

pub(crate) fn http_date(time: Timestamp) -> String {
    DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap_or_default()
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let codings = header_text(headers, "accept-encoding").unwrap_or_default().split(',').map(str::trim);
    codings.into_iter().any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        matches!(name.trim(), "gzip" | "*") && quality.trim().replace(' ', "") != "q=0"
    })
}

fn precondition_failed(message: &str) -> StorageError {
    StorageError::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", message)
}

/// The metageneration of all objects. It is constant, because the metadata of an object never change.
pub(super) const METAGENERATION: &str = "1";

/// Checks the preconditions of a write, such as the version of the existing object, or that the object does not exist.
pub(super) fn check_write(headers: &HeaderMap, object: Option<&Object>) -> Result<(), StorageError> {
    check_generation(headers, object)?;
    if header_text(headers, "if-match")
        .is_some_and(|tags| !object.is_some_and(|object| contains_tag(tags, object, TagComparison::Strong)))
    {
        return Err(precondition_failed("the object does not exist, or has another entity tag"));
    }
    if header_text(headers, "if-none-match")
        .is_some_and(|tags| object.is_some_and(|object| contains_tag(tags, object, TagComparison::Weak)))
    {
        return Err(precondition_failed("the object exists"));
    }
    Ok(())
}

/// Checks the required generation and metageneration. The generation 0 means that the object must not exist.
pub(super) fn check_generation(headers: &HeaderMap, object: Option<&Object>) -> Result<(), StorageError> {
    let generation = object.map_or(0, |object| object.properties.generation).to_string();
    if header_text(headers, "x-goog-if-generation-match").is_some_and(|required| required != generation) {
        return Err(precondition_failed("the object has another generation"));
    }
    let metageneration = object.map(|_| METAGENERATION);
    if header_text(headers, "x-goog-if-metageneration-match").is_some_and(|required| Some(required) != metageneration) {
        return Err(precondition_failed("the object has another metageneration"));
    }
    Ok(())
}

/// Checks the preconditions of a deletion.
pub(super) fn check_delete(headers: &HeaderMap, object: &Object) -> Result<(), StorageError> {
    check_generation(headers, Some(object))?;
    check_unchanged(headers, object)
}

/// Checks `If-Match` or, if it is absent, `If-Unmodified-Since`.
fn check_unchanged(headers: &HeaderMap, object: &Object) -> Result<(), StorageError> {
    let has_changed = match header_text(headers, "if-match") {
        Some(tags) => !contains_tag(tags, object, TagComparison::Strong),
        None => changed_since(headers, "if-unmodified-since", object) == Some(true),
    };
    if has_changed {
        Err(precondition_failed("the object has another entity tag, or has changed since the time in the request"))
    } else {
        Ok(())
    }
}

/// The comparison of entity tags (RFC 9110, section 8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum TagComparison {
    Strong,
    Weak,
}

/// Returns true if a list contains the object's entity tag or `*`.
fn contains_tag(tags: &str, object: &Object, comparison: TagComparison) -> bool {
    let etag = object.etag();
    let normalize =
        |tag| if comparison == TagComparison::Weak { str::strip_prefix(tag, "W/").unwrap_or(tag) } else { tag };
    tags.split(',').map(str::trim).any(|tag| tag == "*" || normalize(tag) == etag)
}

/// Returns true if the object changed after the time in a header. Returns `None` if the header is absent or invalid.
fn changed_since(headers: &HeaderMap, name: &str, object: &Object) -> Option<bool> {
    let time = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header_text(headers, name)?).ok()?;
    // HTTP dates have a resolution of seconds.
    Some(object.properties.created_at.as_second() > time.as_second())
}

/// Returns true if the object must be sent. Returns false if the client has its current version.
pub(super) fn is_modified(object: &Object, headers: &HeaderMap) -> Result<bool, StorageError> {
    check_unchanged(headers, object)?;
    Ok(match header_text(headers, "if-none-match") {
        Some(tags) => !contains_tag(tags, object, TagComparison::Weak),
        None => changed_since(headers, "if-modified-since", object) != Some(false),
    })
}

/// Returns the requested range. An invalid range is ignored; multiple ranges are rejected.
pub(super) fn select_range(object: &Object, headers: &HeaderMap) -> Result<Selection, StorageError> {
    let is_current =
        |validator: &str| validator == object.etag() || validator == http_date(object.properties.created_at);
    // If the object has changed, the whole object is sent.
    if header_text(headers, "if-range").is_some_and(|validator| !is_current(validator)) {
        return Ok(Selection::Whole);
    }
    let byte_ranges = header_text(headers, "range").and_then(|value| value.trim().split_once('='));
    let Some((_, ranges)) = byte_ranges.filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes")) else {
        return Ok(Selection::Whole);
    };
    if ranges.contains(',') {
        return Err(StorageError::invalid("several ranges in one request are not supported"));
    }
    let size = object.properties.bytes;
    let Some(range) = parse_range(ranges.trim(), size) else { return Ok(Selection::Whole) };
    if range.start < range.end {
        return Ok(Selection::Part(range));
    }
    Err(StorageError::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "InvalidRange",
        "the range is beyond the end of the object",
    )
    .with_header(header::CONTENT_RANGE, format!("bytes */{size}")))
}

/// Parses a byte range of an object of `size` bytes. A range after the end of the object is empty. Returns `None` if
/// the range is malformed.
fn parse_range(range: &str, size: u64) -> Option<Range<u64>> {
    let parse_digits = |text: &str| -> Option<u64> {
        let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number that overflows is beyond the end of any object.
        all_digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (first, last) = range.split_once('-')?;
    if first.is_empty() {
        return Some(size.saturating_sub(parse_digits(last)?)..size);
    }
    let first = parse_digits(first)?;
    let last = if last.is_empty() { u64::MAX } else { parse_digits(last)? };
    if last < first {
        return None;
    }
    Some(first.min(size)..last.saturating_add(1).min(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_parsed_as_in_rfc_9110() {
        for (range, expected) in [
            ("0-0", Some(0..1)),
            ("0-9", Some(0..10)),
            ("5-", Some(5..10)),
            ("5-100", Some(5..10)),
            ("-3", Some(7..10)),
            ("-100", Some(0..10)),
            ("-0", Some(10..10)),
            ("10-", Some(10..10)),
            ("99999999999999999999-", Some(10..10)),
            ("0-99999999999999999999", Some(0..10)),
            ("3-2", None),
            ("a-b", None),
            ("+1-2", None),
            ("1", None),
            ("-", None),
        ] {
            assert_eq!(parse_range(range, 10), expected, "{range}");
        }
    }
}
