//! Rejection of requests that use unsupported features. If the storage ignored the unsupported part of a request, it
//! would do something that the client did not request.

use axum::http::{HeaderMap, HeaderName, Method};

use super::{StorageError, Target};

/// Subresources of S3 and Google that this storage does not support.
const UNSUPPORTED_SUBRESOURCES: [&str; 25] = [
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "billing",
    "compose",
    "cors",
    "encryption",
    "inventory",
    "legal-hold",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "policy",
    "replication",
    "restore",
    "retention",
    "select",
    "storageClass",
    "tagging",
    "versioning",
    "versions",
    "website",
];
/// Prefixes of unsupported headers: conditions of copies, customer-supplied and managed encryption keys, access control
/// lists, tags, locks and redirects.
const UNSUPPORTED_HEADER_PREFIXES: [&str; 9] = [
    "x-amz-copy-source-",
    "x-goog-copy-source-",
    "x-amz-server-side-encryption",
    "x-goog-encryption-",
    "x-amz-grant-",
    "x-amz-tagging",
    "x-amz-object-lock-",
    "x-goog-object-lock-",
    "x-amz-website-redirect-location",
];
/// Headers that are supported only for one method and for whole objects, with the error for other requests.
const RESTRICTED_HEADERS: [(&str, Method, &str); 3] = [
    ("x-amz-copy-source", Method::PUT, "only PUT of a whole object can copy; parts cannot be copied"),
    ("x-goog-copy-source", Method::PUT, "only PUT of a whole object can copy; parts cannot be copied"),
    ("x-goog-resumable", Method::POST, "a resumable upload starts with POST, without `uploads`"),
];
/// Headers that are supported only with their default values.
const DEFAULT_ONLY_HEADERS: [(&str, &[&str]); 4] = [
    ("x-amz-acl", &["private"]),
    ("x-goog-acl", &["private", "project-private"]),
    ("x-amz-storage-class", &["STANDARD"]),
    ("x-goog-storage-class", &["STANDARD"]),
];

/// Rejects requests that would be misinterpreted. For example, a request to set the tags of an object would overwrite
/// the object.
pub(super) fn check(method: &Method, target: &Target, headers: &HeaderMap) -> Result<(), StorageError> {
    let is_whole_object =
        target.key.is_some() && ["uploadId", "uploads"].iter().all(|name| target.parameter(name).is_none());
    let misplaced_header = RESTRICTED_HEADERS
        .into_iter()
        .find(|(name, permitted, _)| headers.contains_key(*name) && !(is_whole_object && permitted == method));
    if let Some((_, _, reason)) = misplaced_header {
        return Err(StorageError::not_implemented(reason));
    }
    // Each of these parameters selects a separate operation on a bucket.
    let misplaced_operation = [("delete", Method::POST), ("location", Method::GET), ("uploads", Method::GET)]
        .into_iter()
        .find(|(name, permitted)| {
            let is_multipart_start = *name == "uploads" && target.key.is_some();
            target.parameter(name).is_some() && !is_multipart_start && (target.key.is_some() || permitted != method)
        });
    if let Some((name, _)) = misplaced_operation {
        return Err(StorageError::not_implemented(format!("`{name}` is not supported here")));
    }
    let subresource = UNSUPPORTED_SUBRESOURCES.into_iter().find(|name| target.parameter(name).is_some());
    let header = headers
        .keys()
        .map(HeaderName::as_str)
        .find(|name| UNSUPPORTED_HEADER_PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
    let unsupported_value = DEFAULT_ONLY_HEADERS.into_iter().find(|(name, supported)| {
        let value = headers.get(*name).map(|value| value.to_str().unwrap_or_default());
        value.is_some_and(|value| !supported.iter().any(|supported| supported.eq_ignore_ascii_case(value)))
    });
    match subresource.or(header).or(unsupported_value.map(|(name, _)| name)) {
        Some(name) => Err(StorageError::not_implemented(format!("`{name}` is not supported"))),
        None => Ok(()),
    }
}
