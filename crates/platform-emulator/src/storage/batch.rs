//! Deletion of several objects with one request (`DeleteObjects`).

use std::convert::Infallible;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::signature::Verified;
use super::storage_error::xml;
use super::write::read;
use super::{StorageError, Target, digests};
use crate::platform::Platform;

/// The maximum number of objects in a request.
const MAX_OBJECTS: usize = 1000;
/// The maximum size of a request in bytes. It is sufficient for 1,000 escaped keys of 1,024 bytes.
const MAX_LIST_BYTES: usize = 8 * 1024 * 1024;

#[derive(Deserialize)]
struct DeleteRequest {
    #[serde(rename = "Object", default)]
    objects: Vec<ObjectToDelete>,
    #[serde(rename = "Quiet", default)]
    quiet: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ObjectToDelete {
    key: String,
    version_id: Option<String>,
    // The following fields are conditions, which are not supported.
    #[serde(rename = "ETag")]
    etag: Option<String>,
    last_modified_time: Option<String>,
    size: Option<String>,
}

#[derive(Serialize)]
#[serde(rename = "DeleteResult", rename_all = "PascalCase")]
struct Outcome {
    deleted: Vec<Deleted>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Deleted {
    key: String,
}

pub(super) async fn remove(
    platform: &Platform,
    target: &Target,
    request: Request,
    verified: &Verified,
) -> Result<Response, StorageError> {
    let malformed = || StorageError::new(StatusCode::BAD_REQUEST, "MalformedXML", "the list of objects cannot be read");
    let mut stated = digests::ExpectedDigests::of(request.headers())?;
    if !stated.has_digests() {
        return Err(StorageError::invalid("the request needs a checksum: Content-MD5 or x-amz-checksum-*"));
    }
    let body = read(request, verified, MAX_LIST_BYTES, malformed).await?;
    stated.update(body.as_bytes());
    stated.check()?;
    let wanted: DeleteRequest = quick_xml::de::from_str(&body).map_err(|_| malformed())?;
    if wanted.objects.is_empty() || wanted.objects.len() > MAX_OBJECTS {
        return Err(malformed());
    }
    let has_more = |object: &ObjectToDelete| {
        [&object.version_id, &object.etag, &object.last_modified_time, &object.size].into_iter().any(Option::is_some)
    };
    if wanted.objects.iter().any(has_more) {
        return Err(StorageError::not_implemented("versions and conditions are not supported"));
    }
    let mut deleted = Vec::new();
    for ObjectToDelete { key, .. } in wanted.objects {
        let removed =
            platform.objects.remove(platform.state.store(), &target.bucket, &key, |_| Ok::<_, Infallible>(()));
        // An object that does not exist is reported as deleted, as in S3.
        removed.await.map_err(StorageError::internal)?.unwrap_or_else(|never| match never {});
        if !wanted.quiet {
            deleted.push(Deleted { key });
        }
    }
    Ok(xml(&Outcome { deleted }))
}
