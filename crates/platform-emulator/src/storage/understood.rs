//! Requests that this storage does not implement. They are refused, because ignoring them would change their meaning.

use axum::http::{HeaderMap, HeaderName, Method};

use super::{Refusal, Target};

/// Subresources of S3 and Google that this storage does not support.
const SUBRESOURCES: [&str; 25] = [
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
/// Headers that this storage does not support, by their start: conditions of copies, keys of the client or of a key
/// service, access lists, tags, locks and redirects.
const HEADERS: [&str; 9] = [
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
/// Headers that are valid for one method of whole objects only, with the reason for refusing others.
const PLACES: [(&str, Method, &str); 3] = [
    ("x-amz-copy-source", Method::PUT, "only PUT of a whole object can copy; parts cannot be copied"),
    ("x-goog-copy-source", Method::PUT, "only PUT of a whole object can copy; parts cannot be copied"),
    ("x-goog-resumable", Method::POST, "a resumable upload starts with POST, without `uploads`"),
];
/// Headers of which only the default is supported.
const DEFAULTS: [(&str, &[&str]); 4] = [
    ("x-amz-acl", &["private"]),
    ("x-goog-acl", &["private", "project-private"]),
    ("x-amz-storage-class", &["STANDARD"]),
    ("x-goog-storage-class", &["STANDARD"]),
];

/// Rejects requests that would be misinterpreted: tags that would overwrite the object, or a part that would be empty.
pub(super) fn check(method: &Method, target: &Target, headers: &HeaderMap) -> Result<(), Refusal> {
    let whole = target.key.is_some() && ["uploadId", "uploads"].iter().all(|name| target.parameter(name).is_none());
    let misplaced =
        PLACES.into_iter().find(|(name, only, _)| headers.contains_key(*name) && !(whole && only == method));
    if let Some((_, _, reason)) = misplaced {
        return Err(Refusal::not_implemented(reason));
    }
    // Each of these is a request of its own to a bucket.
    let other = [("delete", Method::POST), ("location", Method::GET), ("uploads", Method::GET)].into_iter().find(
        |(name, only)| {
            let of_object = *name == "uploads" && target.key.is_some();
            target.parameter(name).is_some() && !of_object && (target.key.is_some() || only != method)
        },
    );
    if let Some((name, _)) = other {
        return Err(Refusal::not_implemented(format!("`{name}` is not supported here")));
    }
    let subresource = SUBRESOURCES.into_iter().find(|name| target.parameter(name).is_some());
    let header =
        headers.keys().map(HeaderName::as_str).find(|name| HEADERS.iter().any(|start| name.starts_with(start)));
    let other = DEFAULTS.into_iter().find(|(name, supported)| {
        let value = headers.get(*name).map(|value| value.to_str().unwrap_or_default());
        value.is_some_and(|value| !supported.iter().any(|supported| supported.eq_ignore_ascii_case(value)))
    });
    match subresource.or(header).or(other.map(|(name, _)| name)) {
        Some(name) => Err(Refusal::not_implemented(format!("`{name}` is not supported"))),
        None => Ok(()),
    }
}
