//! Copies of objects within a bucket (`CopyObject`).

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::refusal::xml;
use super::{Refusal, Target, conditions, content_encoding, metadata, no_such_key, object_headers, stated};
use crate::platform::Platform;

/// The prefixes of the headers of S3 and Google.
const PREFIXES: [&str; 2] = ["x-amz-", "x-goog-"];

#[derive(Serialize)]
#[serde(rename = "CopyObjectResult", rename_all = "PascalCase")]
struct Copied {
    last_modified: String,
    #[serde(rename = "ETag")]
    etag: String,
}

/// Returns the value of a header for copies, without its prefix.
fn stated_copy<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    PREFIXES.iter().find_map(|prefix| headers.get(format!("{prefix}{name}"))?.to_str().ok())
}

/// Returns true if a request copies an object.
pub(super) fn is_copy(headers: &HeaderMap) -> bool {
    PREFIXES.iter().any(|prefix| headers.contains_key(format!("{prefix}copy-source")))
}

pub(super) async fn copy(
    platform: &Platform,
    target: &Target,
    key: &str,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let source = source(target, headers)?;
    let found = platform.objects.get(&target.bucket, &source).ok_or_else(no_such_key)?;
    let replaces = match stated_copy(headers, "metadata-directive") {
        None => false,
        Some(directive) if directive.eq_ignore_ascii_case("copy") => false,
        Some(directive) if directive.eq_ignore_ascii_case("replace") => true,
        Some(_) => return Err(Refusal::invalid("the metadata directive must be COPY or REPLACE")),
    };
    if source == key && !replaces {
        return Err(Refusal::invalid("a copy onto itself must replace the metadata"));
    }
    let mut object = platform.objects.copy(&found).await.map_err(Refusal::internal)?;
    if replaces {
        stated(headers, &header::CONTENT_TYPE).clone_into(&mut object.about.content_type);
        object.about.content_encoding = content_encoding(headers);
        object.about.metadata = metadata(headers);
    }
    let check = |current: Option<&super::Object>| conditions::check_write(headers, current);
    let object = platform.keep_if(&target.bucket, key, object, check).await.map_err(Refusal::internal)??;
    let body = xml(&Copied { last_modified: object.about.created_at.to_string(), etag: object.etag() });
    let mut response = (object_headers(&object), body).into_response();
    super::set(response.headers_mut(), header::CONTENT_TYPE, "application/xml");
    Ok(response)
}

/// Returns the key of the source, which must be in the same bucket.
fn source(target: &Target, headers: &HeaderMap) -> Result<String, Refusal> {
    let text = stated_copy(headers, "copy-source").unwrap_or_default();
    if text.contains('?') {
        return Err(Refusal::not_implemented("versions of a source are not supported"));
    }
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| Refusal::invalid("the source is not UTF-8"))?;
    let (bucket, key) = decoded.strip_prefix('/').unwrap_or(&decoded).split_once('/').unwrap_or_default();
    if bucket != target.bucket {
        return Err(Refusal::denied("the source must be in the same bucket"));
    }
    Ok(key.to_owned())
}
