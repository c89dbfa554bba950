//! Bucket listings: `ListObjectsV2`, and the older version with a marker.

use std::ops::Bound;

use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::utf8_percent_encode;
use serde::Serialize;

use super::refusal::listing;
use super::signature::RESERVED_IN_PATH;
use super::{Refusal, Target};
use crate::platform::Platform;

const LARGEST_PAGE: usize = 1000;

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

pub(super) fn list(platform: &Platform, target: &Target) -> Result<Response, Refusal> {
    let second = target.parameter("list-type").as_deref() == Some("2");
    let parameter = |name| target.parameter(name).filter(|value| !value.is_empty());
    let token = parameter("continuation-token").filter(|_| second);
    let after = match &token {
        Some(token) => Some(decode(token)?),
        None => parameter(if second { "start-after" } else { "marker" }),
    };
    let encode = match parameter("encoding-type").as_deref() {
        None => None,
        Some("url") => Some("url"),
        Some(_) => return Err(Refusal::invalid("encoding-type can only be url")),
    };
    let size = parameter("max-keys").map(|text| text.parse::<usize>()).transpose();
    let size =
        size.map_err(|_| Refusal::invalid("max-keys is not a number"))?.unwrap_or(LARGEST_PAGE).min(LARGEST_PAGE);
    let prefix = parameter("prefix").unwrap_or_default();
    let delimiter = parameter("delimiter");
    let page = page(platform, &target.bucket, &prefix, delimiter.as_deref(), after.as_deref(), size);
    let written = |key: &str| match encode {
        Some(_) => utf8_percent_encode(key, RESERVED_IN_PATH).to_string(),
        None => key.to_owned(),
    };
    let next = page.next.filter(|_| page.more);
    Ok(listing(&Listing {
        name: target.bucket.clone(),
        prefix: written(&prefix),
        delimiter: delimiter.as_deref().map(written),
        encoding_type: encode,
        max_keys: size,
        is_truncated: page.more,
        key_count: second.then_some(page.entries.len() + page.prefixes.len()),
        start_after: parameter("start-after").filter(|_| second).as_deref().map(written),
        continuation_token: token,
        next_continuation_token: next.as_ref().filter(|_| second).map(|key| URL_SAFE_NO_PAD.encode(key)),
        marker: (!second).then(|| written(after.as_deref().unwrap_or_default())),
        next_marker: next.as_deref().filter(|_| !second).map(written),
        contents: page.entries.into_iter().map(|entry| Entry { key: written(&entry.key), ..entry }).collect(),
        common_prefixes: page.prefixes.iter().map(|prefix| CommonPrefix { prefix: written(prefix) }).collect(),
    }))
}

fn decode(token: &str) -> Result<String, Refusal> {
    let key = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    key.ok_or_else(|| {
        Refusal::new(StatusCode::BAD_REQUEST, "InvalidArgument", "the continuation token is not one of ours")
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
            // Already listed, on this page or the previous one.
            let told = |common: &str| {
                page.prefixes.last().is_some_and(|last| last == common)
                    || after.is_some_and(|after| after.starts_with(common))
            };
            if common.is_some_and(told) {
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
                    last_modified: object.about.created_at.to_string(),
                    etag: object.etag(),
                    size: object.about.bytes,
                    storage_class: "STANDARD",
                }),
            }
        }
        page
    })
}
