//! Requests that this storage does not implement. They are refused, because ignoring them would change their meaning.

use axum::http::{HeaderMap, HeaderName};

use super::{Refusal, Target};

/// Subresources of S3 and Google that this storage does not support.
const SUBRESOURCES: [&str; 27] = [
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "billing",
    "compose",
    "cors",
    "delete",
    "encryption",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
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
/// Headers that this storage does not support, by their start: copies, keys of the client or of a key service, access
/// lists, tags, locks, redirects and resumable uploads.
const HEADERS: [&str; 10] = [
    "x-amz-copy-source",
    "x-goog-copy-source",
    "x-amz-server-side-encryption",
    "x-goog-encryption-",
    "x-amz-grant-",
    "x-amz-tagging",
    "x-amz-object-lock-",
    "x-goog-object-lock-",
    "x-amz-website-redirect-location",
    "x-goog-resumable",
];
/// Headers of which only the default is supported.
const DEFAULTS: [(&str, &[&str]); 4] = [
    ("x-amz-acl", &["private"]),
    ("x-goog-acl", &["private", "project-private"]),
    ("x-amz-storage-class", &["STANDARD"]),
    ("x-goog-storage-class", &["STANDARD"]),
];

/// Rejects requests that would be misinterpreted: tags that would overwrite the object, or a copy that would be empty.
pub(super) fn check(target: &Target, headers: &HeaderMap) -> Result<(), Refusal> {
    let subresource = SUBRESOURCES.into_iter().find(|name| target.parameter(name).is_some());
    let uploads = target.key.is_none().then_some("uploads").filter(|name| target.parameter(name).is_some());
    let header =
        headers.keys().map(HeaderName::as_str).find(|name| HEADERS.iter().any(|start| name.starts_with(start)));
    let other = DEFAULTS.into_iter().find(|(name, supported)| {
        let value = headers.get(*name).map(|value| value.to_str().unwrap_or_default());
        value.is_some_and(|value| !supported.iter().any(|supported| supported.eq_ignore_ascii_case(value)))
    });
    match subresource.or(uploads).or(header).or(other.map(|(name, _)| name)) {
        Some(name) => Err(Refusal::not_implemented(format!("`{name}` is not supported"))),
        None => Ok(()),
    }
}
