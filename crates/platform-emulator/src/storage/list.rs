//! Bucket listings: `ListObjectsV2`, and the older version with a marker.

use std::ops::Bound;

use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::utf8_percent_encode;
use serde::Serialize;

use super::signature::RESERVED_IN_PATH;
use super::storage_error::listing;
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
    let token = parameter("continuation-token").filter(|_| is_v2);
    let after = match &token {
        Some(token) => Some(decode(token)?),
        None => parameter(if is_v2 { "start-after" } else { "marker" }),
    };
    let encode = match parameter("encoding-type").as_deref() {
        None => None,
        Some("url") => Some("url"),
        Some(_) => return Err(StorageError::invalid("encoding-type can only be url")),
    };
    let size = parameter("max-keys").map(|text| text.parse::<usize>()).transpose();
    let size = size
        .map_err(|_| StorageError::invalid("max-keys is not a number"))?
        .unwrap_or(MAX_PAGE_SIZE)
        .min(MAX_PAGE_SIZE);
    let prefix = parameter("prefix").unwrap_or_default();
    let delimiter = parameter("delimiter");
    let page = page(platform, &target.bucket, &prefix, delimiter.as_deref(), after.as_deref(), size);
    let encoded = |key: &str| match encode {
        Some(_) => utf8_percent_encode(key, RESERVED_IN_PATH).to_string(),
        None => key.to_owned(),
    };
    let next = page.next.filter(|_| page.more);
    Ok(listing(&Listing {
        name: target.bucket.clone(),
        prefix: encoded(&prefix),
        delimiter: delimiter.as_deref().map(encoded),
        encoding_type: encode,
        max_keys: size,
        is_truncated: page.more,
        key_count: is_v2.then_some(page.entries.len() + page.prefixes.len()),
        start_after: parameter("start-after").filter(|_| is_v2).as_deref().map(encoded),
        continuation_token: token,
        next_continuation_token: next.as_ref().filter(|_| is_v2).map(|key| URL_SAFE_NO_PAD.encode(key)),
        marker: (!is_v2).then(|| encoded(after.as_deref().unwrap_or_default())),
        next_marker: next.as_deref().filter(|_| !is_v2).map(encoded),
        contents: page.entries.into_iter().map(|entry| Entry { key: encoded(&entry.key), ..entry }).collect(),
        common_prefixes: page.prefixes.iter().map(|prefix| CommonPrefix { prefix: encoded(prefix) }).collect(),
    }))
}

fn decode(token: &str) -> Result<String, StorageError> {
    let key = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    key.ok_or_else(|| {
        StorageError::new(StatusCode::BAD_REQUEST, "InvalidArgument", "the continuation token is not one of ours")
    })
}

#[derive(Default)]
struct Page {
    entries: Vec<Entry>,
    prefixes: Vec<String>,
    /// The key after which the next page starts.
    next: Option<String>,
    more: bool,
}

/// Returns the entries after `after`. Keys with the delimiter after the prefix are grouped into common prefixes.
fn page(
    platform: &Platform,
    bucket: &str,
    prefix: &str,
    delimiter: Option<&str>,
    after: Option<&str>,
    size: usize,
) -> Page {
    platform.objects.in_bucket(bucket, |objects| {
        let mut page = Page::default();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let keys = objects.range::<str, _>((start, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(prefix));
        for (key, object) in keys {
            let common = delimiter.and_then(|delimiter| {
                let at = key[prefix.len()..].find(delimiter)?;
                Some(&key[..prefix.len() + at + delimiter.len()])
            });
            // The common prefix is already listed on this page or the previous one.
            let is_listed = |common: &str| {
                page.prefixes.last().is_some_and(|last| last == common)
                    || after.is_some_and(|after| after.starts_with(common))
            };
            if common.is_some_and(is_listed) {
                continue;
            }
            if page.entries.len() + page.prefixes.len() == size {
                // An empty page cannot be continued.
                page.more = size > 0;
                break;
            }
            page.next = Some(common.unwrap_or(key).to_owned());
            match common {
                Some(common) => page.prefixes.push(common.to_owned()),
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
