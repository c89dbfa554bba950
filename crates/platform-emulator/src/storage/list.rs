//! Bucket listings: `ListObjectsV2`, and the older version with a marker.

use std::ops::Bound;

use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::utf8_percent_encode;
use serde::Serialize;

use super::signature::RESERVED_IN_PATH;
use super::storage_error::listing_response;
use super::{StorageError, Target};
use crate::platform::Platform;

const MAX_PAGE_SIZE: usize = 1000;

#[derive(Serialize)]
#[serde(rename = "ListBucketResult", rename_all = "PascalCase")]
struct Listing {
    name: String,
    prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    delimiter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_type: Option<&'static str>,
    max_keys: usize,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continuation_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_continuation_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    contents: Vec<Entry>,
    common_prefixes: Vec<CommonPrefix>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    last_modified: String,
    #[serde(rename = "ETag")]
    etag: String,
    size: u64,
    storage_class: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CommonPrefix {
    prefix: String,
}

pub(super) fn list(platform: &Platform, target: &Target) -> Result<Response, StorageError> {
    let is_v2 = target.parameter("list-type").as_deref() == Some("2");
    let parameter = |name| target.parameter(name).filter(|value| !value.is_empty());
    let continuation_token = parameter("continuation-token").filter(|_| is_v2);
    let after = match &continuation_token {
        Some(continuation_token) => Some(decode_token(continuation_token)?),
        None => parameter(if is_v2 { "start-after" } else { "marker" }),
    };
    let encoding_type = match parameter("encoding-type").as_deref() {
        None => None,
        Some("url") => Some("url"),
        Some(_) => return Err(StorageError::invalid("encoding-type can only be url")),
    };
    let max_keys = parameter("max-keys").map(|text| text.parse::<usize>()).transpose();
    let max_keys = max_keys
        .map_err(|_| StorageError::invalid("max-keys is not a number"))?
        .unwrap_or(MAX_PAGE_SIZE)
        .min(MAX_PAGE_SIZE);
    let prefix = parameter("prefix").unwrap_or_default();
    let delimiter = parameter("delimiter");
    let page = list_page(platform, &target.bucket, &prefix, delimiter.as_deref(), after.as_deref(), max_keys);
    let encode_key = |key: &str| match encoding_type {
        Some(_) => utf8_percent_encode(key, RESERVED_IN_PATH).to_string(),
        None => key.to_owned(),
    };
    let next_start = page.next_start.filter(|_| page.is_truncated);
    Ok(listing_response(&Listing {
        name: target.bucket.clone(),
        prefix: encode_key(&prefix),
        delimiter: delimiter.as_deref().map(encode_key),
        encoding_type,
        max_keys,
        is_truncated: page.is_truncated,
        key_count: is_v2.then_some(page.entries.len() + page.prefixes.len()),
        start_after: parameter("start-after").filter(|_| is_v2).as_deref().map(encode_key),
        continuation_token,
        next_continuation_token: next_start.as_ref().filter(|_| is_v2).map(|key| URL_SAFE_NO_PAD.encode(key)),
        marker: (!is_v2).then(|| encode_key(after.as_deref().unwrap_or_default())),
        next_marker: next_start.as_deref().filter(|_| !is_v2).map(encode_key),
        contents: page.entries.into_iter().map(|entry| Entry { key: encode_key(&entry.key), ..entry }).collect(),
        common_prefixes: page.prefixes.iter().map(|prefix| CommonPrefix { prefix: encode_key(prefix) }).collect(),
    }))
}

fn decode_token(token: &str) -> Result<String, StorageError> {
    let key = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    key.ok_or_else(|| {
        StorageError::new(StatusCode::BAD_REQUEST, "InvalidArgument", "the continuation token is invalid")
    })
}

#[derive(Default)]
struct Page {
    entries: Vec<Entry>,
    prefixes: Vec<String>,
    /// The key after which the next page starts.
    next_start: Option<String>,
    is_truncated: bool,
}

/// Returns up to `max_entries` entries with keys after `after`. Keys that contain the delimiter after the prefix are
/// grouped into common prefixes.
fn list_page(
    platform: &Platform,
    bucket: &str,
    prefix: &str,
    delimiter: Option<&str>,
    after: Option<&str>,
    max_entries: usize,
) -> Page {
    platform.objects.in_bucket(bucket, |objects| {
        let mut page = Page::default();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let keys = objects.range::<str, _>((start, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(prefix));
        for (key, object) in keys {
            let common_prefix = delimiter.and_then(|delimiter| {
                let position = key[prefix.len()..].find(delimiter)?;
                Some(&key[..prefix.len() + position + delimiter.len()])
            });
            // The common prefix may already be listed on this page or on the previous page.
            let is_listed = |common_prefix: &str| {
                page.prefixes.last().is_some_and(|last| last == common_prefix)
                    || after.is_some_and(|after| after.starts_with(common_prefix))
            };
            if common_prefix.is_some_and(is_listed) {
                continue;
            }
            if page.entries.len() + page.prefixes.len() == max_entries {
                // An empty page cannot be continued.
                page.is_truncated = max_entries > 0;
                break;
            }
            page.next_start = Some(common_prefix.unwrap_or(key).to_owned());
            match common_prefix {
                Some(common_prefix) => page.prefixes.push(common_prefix.to_owned()),
                None => page.entries.push(Entry {
                    key: key.clone(),
                    last_modified: object.properties.created_at.to_string(),
                    etag: object.etag(),
                    size: object.properties.bytes,
                    storage_class: "STANDARD",
                }),
            }
        }
        page
    })
}
