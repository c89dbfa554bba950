//! The list of buckets, and requests about a bucket. The buckets of organizations always exist.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::Refusal;
use super::refusal::xml;
use super::signature::Verified;
use crate::account::BUCKET_REGION;

/// The creation time of all buckets, before all objects.
const CREATED: &str = "2026-01-01T00:00:00.000Z";

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
    let buckets = Buckets { bucket: [Bucket { name, creation_date: CREATED }] };
    xml(&Listing { owner: Owner { id: name, display_name: name }, buckets })
}

pub(super) fn location() -> Response {
    xml(&Location { region: BUCKET_REGION })
}

/// Refuses to create a bucket. The bucket of the caller exists; other names are rejected when the signature is verified.
pub(super) fn create() -> Refusal {
    Refusal::new(StatusCode::CONFLICT, "BucketAlreadyOwnedByYou", "the bucket exists, and is yours")
}
