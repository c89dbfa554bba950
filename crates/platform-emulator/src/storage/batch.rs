//! Deletion of several objects with one request (`DeleteObjects`).

use std::convert::Infallible;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::signature::VerifiedRequest;
use super::storage_error::xml_response;
use super::write::read_small_body;
use super::{StorageError, Target, digests};
use crate::platform::Platform;

/// The maximum number of objects in a request.
const MAX_OBJECTS: usize = 1000;
/// The maximum size of the list in bytes. It is sufficient for 1,000 escaped keys of 1,024 bytes.
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
struct DeleteResult {
    deleted: Vec<DeletedObject>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeletedObject {
    key: String,
}

pub(super) async fn delete_objects(
    platform: &Platform,
    target: &Target,
    request: Request,
    verified: &VerifiedRequest,
) -> Result<Response, StorageError> {
    let malformed = || StorageError::new(StatusCode::BAD_REQUEST, "MalformedXML", "the list of objects cannot be read");
    let mut expected_digests = digests::ExpectedDigests::of_request(request.headers())?;
    if !expected_digests.has_digests() {
        return Err(StorageError::invalid("the request needs a checksum: Content-MD5 or x-amz-checksum-*"));
    }
    let body = read_small_body(request, verified, MAX_LIST_BYTES, malformed).await?;
    expected_digests.update(body.as_bytes());
    expected_digests.check()?;
    let delete_request: DeleteRequest = quick_xml::de::from_str(&body).map_err(|_| malformed())?;
    if delete_request.objects.is_empty() || delete_request.objects.len() > MAX_OBJECTS {
        return Err(malformed());
    }
    let has_conditions = |object: &ObjectToDelete| {
        [&object.version_id, &object.etag, &object.last_modified_time, &object.size].into_iter().any(Option::is_some)
    };
    if delete_request.objects.iter().any(has_conditions) {
        return Err(StorageError::not_implemented("versions and conditions are not supported"));
    }
    let mut deleted = Vec::new();
    for ObjectToDelete { key, .. } in delete_request.objects {
        let removal =
            platform.objects.remove(platform.state.store(), &target.bucket, &key, |_| Ok::<_, Infallible>(()));
        // An object that does not exist is reported as deleted, as in S3.
        removal.await.map_err(StorageError::internal)?.unwrap_or_else(|never| match never {});
        if !delete_request.quiet {
            deleted.push(DeletedObject { key });
        }
    }
    Ok(xml_response(&DeleteResult { deleted }))
}
