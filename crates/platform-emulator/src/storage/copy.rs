//! Copies of objects within a bucket (`CopyObject`).

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::storage_error::xml_response;
use super::{
    StorageError, Target, conditions, content_encoding, header_or_default_type, metadata, no_such_key, object_headers,
};
use crate::platform::Platform;

/// The prefixes of the headers of S3 and Google.
const PREFIXES: [&str; 2] = ["x-amz-", "x-goog-"];

#[derive(Serialize)]
#[serde(rename = "CopyObjectResult", rename_all = "PascalCase")]
struct CopyResult {
    last_modified: String,
    #[serde(rename = "ETag")]
    etag: String,
}

/// Returns the value of a header of S3 or Google. `name` is the name without the prefix.
fn copy_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    PREFIXES.iter().find_map(|prefix| headers.get(format!("{prefix}{name}"))?.to_str().ok())
}

/// Returns true if a request copies an object.
pub(super) fn is_copy(headers: &HeaderMap) -> bool {
    PREFIXES.iter().any(|prefix| headers.contains_key(format!("{prefix}copy-source")))
}

pub(super) async fn copy_object(
    platform: &Platform,
    target: &Target,
    key: &str,
    headers: &HeaderMap,
) -> Result<Response, StorageError> {
    let source = source_key(target, headers)?;
    let source_object = platform.objects.get(&target.bucket, &source).ok_or_else(no_such_key)?;
    let replaces_metadata = match copy_header(headers, "metadata-directive") {
        None => false,
        Some(directive) if directive.eq_ignore_ascii_case("copy") => false,
        Some(directive) if directive.eq_ignore_ascii_case("replace") => true,
        Some(_) => return Err(StorageError::invalid("the metadata directive must be COPY or REPLACE")),
    };
    if source == key && !replaces_metadata {
        return Err(StorageError::invalid("a copy onto itself must replace the metadata"));
    }
    let mut object = platform.objects.copy(&source_object).await.map_err(StorageError::internal)?;
    if replaces_metadata {
        header_or_default_type(headers, &header::CONTENT_TYPE).clone_into(&mut object.properties.content_type);
        object.properties.content_encoding = content_encoding(headers);
        object.properties.metadata = metadata(headers);
    }
    let check = |current: Option<&super::Object>| conditions::check_write(headers, current);
    let object = platform.put_object_if(&target.bucket, key, object, check).await.map_err(StorageError::internal)??;
    let body =
        xml_response(&CopyResult { last_modified: object.properties.created_at.to_string(), etag: object.etag() });
    let mut response = (object_headers(&object), body).into_response();
    super::set_header(response.headers_mut(), header::CONTENT_TYPE, "application/xml");
    Ok(response)
}

/// Returns the key of the object to copy, which must be in the same bucket.
fn source_key(target: &Target, headers: &HeaderMap) -> Result<String, StorageError> {
    let text = copy_header(headers, "copy-source").unwrap_or_default();
    if text.contains('?') {
        return Err(StorageError::not_implemented("versions of a source are not supported"));
    }
    let decoded =
        percent_decode_str(text).decode_utf8().map_err(|_| StorageError::invalid("the source is not UTF-8"))?;
    let (bucket, key) = decoded.strip_prefix('/').unwrap_or(&decoded).split_once('/').unwrap_or_default();
    if bucket != target.bucket {
        return Err(StorageError::denied("the source must be in the same bucket"));
    }
    Ok(key.to_owned())
}
