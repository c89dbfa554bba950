//! The list of buckets, and requests about a bucket. The buckets of organizations always exist.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::StorageError;
use super::signature::Verified;
use super::storage_error::xml;
use crate::account::BUCKET_REGION;

/// The creation time of all buckets, before all objects.
const CREATION_DATE: &str = "2026-01-01T00:00:00.000Z";

#[derive(Serialize)]
#[serde(rename = "ListAllMyBucketsResult", rename_all = "PascalCase")]
struct Listing<'a> {
    owner: Owner<'a>,
    buckets: Buckets<'a>,
}

#[derive(Serialize)]
struct Owner<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "DisplayName")]
    display_name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Buckets<'a> {
    bucket: [Bucket<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Bucket<'a> {
    name: &'a str,
    creation_date: &'static str,
}

#[derive(Serialize)]
#[serde(rename = "LocationConstraint")]
struct Location {
    #[serde(rename = "$text")]
    region: &'static str,
}

/// Lists the bucket of the organization whose key signed the request.
pub(super) fn list(verified: &Verified) -> Response {
    let name = verified.bucket.as_str();
    let buckets = Buckets { bucket: [Bucket { name, creation_date: CREATION_DATE }] };
    xml(&Listing { owner: Owner { id: name, display_name: name }, buckets })
}

pub(super) fn location() -> Response {
    xml(&Location { region: BUCKET_REGION })
}

/// Returns the error for a request to create a bucket. The caller's bucket already exists, and requests for other
/// buckets are rejected when the signature is verified.
pub(super) fn create() -> StorageError {
    StorageError::new(StatusCode::CONFLICT, "BucketAlreadyOwnedByYou", "the bucket exists, and is yours")
}
