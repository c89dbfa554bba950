//! The list of buckets, and requests about a bucket. The buckets of organizations always exist.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::StorageError;
use super::signature::VerifiedRequest;
use super::storage_error::xml_response;
use crate::account::BUCKET_REGION;

/// The creation time of all buckets. It is earlier than the creation times of objects.
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
pub(super) fn list(verified: &VerifiedRequest) -> Response {
    let name = verified.bucket.as_str();
    let buckets = Buckets { bucket: [Bucket { name, creation_date: CREATION_DATE }] };
    xml_response(&Listing { owner: Owner { id: name, display_name: name }, buckets })
}

/// Responds with the region of the buckets.
pub(super) fn location() -> Response {
    xml_response(&Location { region: BUCKET_REGION })
}

/// Returns the error for a request that creates a bucket. The bucket of the caller's organization already exists, and
/// requests for other buckets are rejected when the signature is verified.
pub(super) fn already_exists() -> StorageError {
    StorageError::new(
        StatusCode::CONFLICT,
        "BucketAlreadyOwnedByYou",
        "the bucket already exists and belongs to your organization",
    )
}
