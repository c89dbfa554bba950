//! Requests of multipart uploads. Incomplete uploads exist only in memory, and are lost when the emulator ends.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::multiparts::PendingUpload;
use super::signature::VerifiedRequest;
use super::storage_error::xml_response;
use super::write::{read_small_body, receive_upload};
use super::{Object, StorageError, Target, header_or_default_type, object_headers};
use crate::platform::Platform;

/// The maximum part number.
const MAX_PART_NUMBER: u32 = 10_000;
/// The maximum number of parts per page of the list.
const MAX_LISTED_PARTS: u32 = 1000;
/// The minimum size in bytes of all parts except the last: 5 MiB.
const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;
/// The maximum size in bytes of the list of parts in a completion request.
const MAX_LIST_BYTES: usize = 4 * 1024 * 1024;

#[derive(Serialize)]
#[serde(rename = "InitiateMultipartUploadResult", rename_all = "PascalCase")]
struct InitiatedUpload<'a> {
    bucket: &'a str,
    key: &'a str,
    upload_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename = "ListPartsResult", rename_all = "PascalCase")]
struct Listing<'a> {
    bucket: &'a str,
    key: &'a str,
    upload_id: &'a str,
    part_number_marker: u32,
    max_parts: usize,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_part_number_marker: Option<u32>,
    part: Vec<ListedPart>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedPart {
    part_number: u32,
    #[serde(rename = "ETag")]
    etag: String,
    size: u64,
}

#[derive(Deserialize)]
struct CompletionRequest {
    #[serde(rename = "Part", default)]
    parts: Vec<CompletedPart>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CompletedPart {
    part_number: u32,
    #[serde(rename = "ETag")]
    etag: String,
}

#[derive(Serialize)]
#[serde(rename = "CompleteMultipartUploadResult", rename_all = "PascalCase")]
struct CompletedUpload<'a> {
    location: String,
    bucket: &'a str,
    key: &'a str,
    #[serde(rename = "ETag")]
    etag: String,
}

pub(super) fn start(
    platform: &Platform,
    target: &Target,
    key: &str,
    headers: &HeaderMap,
) -> Result<Response, StorageError> {
    let upload_id = platform.random.token();
    let pending = PendingUpload {
        started_at: platform.timestamp(),
        bucket: target.bucket.clone(),
        key: key.to_owned(),
        content_type: header_or_default_type(headers, &header::CONTENT_TYPE).to_owned(),
        content_encoding: super::content_encoding(headers),
        metadata: super::metadata(headers),
        parts: BTreeMap::new(),
    };
    platform.multiparts.start(upload_id.clone(), pending)?;
    Ok(xml_response(&InitiatedUpload { bucket: &target.bucket, key, upload_id: &upload_id }))
}

pub(super) async fn put_part(
    platform: &Platform,
    target: &Target,
    id: &str,
    request: Request,
    verified: &VerifiedRequest,
) -> Result<Response, StorageError> {
    let number = target.parameter("partNumber").and_then(|text| text.parse().ok());
    let number = number.filter(|number| (1..=MAX_PART_NUMBER).contains(number));
    let number = number.ok_or_else(|| StorageError::invalid(format!("partNumber must be 1 to {MAX_PART_NUMBER}")))?;
    platform.multiparts.with_upload(target, id, platform.timestamp(), |_| ())?;
    let upload = receive_upload(platform, request, verified, |bytes| {
        platform.multiparts.check_space(bytes, platform.timestamp())
    })
    .await?;
    let part = Arc::new(upload.finish("application/octet-stream").await.map_err(StorageError::internal)?);
    let headers = object_headers(&part);
    platform.multiparts.put_part(target, id, platform.timestamp(), number, part)?;
    Ok((StatusCode::OK, headers).into_response())
}

pub(super) fn list_parts(platform: &Platform, target: &Target, id: &str) -> Result<Response, StorageError> {
    let number = |name: &str, default: u32| match target.parameter(name) {
        Some(text) => text.parse().map_err(|_| StorageError::invalid(format!("{name} is not a number"))),
        None => Ok(default),
    };
    let part_number_marker = number("part-number-marker", 0)?;
    let max_parts = number("max-parts", MAX_LISTED_PARTS)?.min(MAX_LISTED_PARTS) as usize;
    platform.multiparts.with_upload(target, id, platform.timestamp(), |upload| {
        let after = (Bound::Excluded(part_number_marker), Bound::Unbounded);
        let to_entry = |(number, part): (&u32, &Arc<Object>)| ListedPart {
            part_number: *number,
            etag: part.etag(),
            size: part.properties.bytes,
        };
        let part: Vec<_> = upload.parts.range(after).take(max_parts).map(to_entry).collect();
        let is_truncated = max_parts > 0 && upload.parts.range(after).nth(max_parts).is_some();
        let next_marker = part.last().map(|part| part.part_number).filter(|_| is_truncated);
        let (bucket, key) = (target.bucket.as_str(), upload.key.as_str());
        xml_response(&Listing {
            bucket,
            key,
            upload_id: id,
            part_number_marker,
            max_parts,
            is_truncated,
            next_part_number_marker: next_marker,
            part,
        })
    })
}

pub(super) fn abort(platform: &Platform, target: &Target, id: &str) -> Result<Response, StorageError> {
    platform.multiparts.with_upload(target, id, platform.timestamp(), |_| ())?;
    platform.multiparts.remove(id);
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn complete(
    platform: &Platform,
    target: &Target,
    key: &str,
    id: &str,
    request: Request,
    verified: &VerifiedRequest,
) -> Result<Response, StorageError> {
    let malformed = || StorageError::new(StatusCode::BAD_REQUEST, "MalformedXML", "the list of parts cannot be read");
    // A checksum in the headers is not checked, because it is the checksum of the object, not of the list.
    let body = read_small_body(request, verified, MAX_LIST_BYTES, malformed).await?;
    let completion: CompletionRequest = quick_xml::de::from_str(&body).map_err(|_| malformed())?;
    let (parts, content_type, content_encoding, metadata) =
        platform.multiparts.with_upload(target, id, platform.timestamp(), |upload| {
            let parts = select_parts(&upload.parts, &completion)?;
            let PendingUpload { content_type, content_encoding, metadata, .. } = upload;
            Ok::<_, StorageError>((parts, content_type.clone(), content_encoding.clone(), metadata.clone()))
        })??;
    let mut object = platform.objects.join(parts, &content_type).await.map_err(StorageError::internal)?;
    (object.properties.content_encoding, object.properties.metadata) = (content_encoding, metadata);
    let object = platform.put_object(&target.bucket, key, object).await.map_err(StorageError::internal)?;
    platform.multiparts.remove(id);
    let location = format!("{}{}/{key}", platform.storage, target.bucket);
    let mut response = xml_response(&CompletedUpload { location, bucket: &target.bucket, key, etag: object.etag() });
    response.headers_mut().extend(object_headers(&object));
    super::set_header(response.headers_mut(), header::CONTENT_TYPE, "application/xml");
    Ok(response)
}

/// Returns the uploaded parts that a completion request lists, or an error if the list is invalid.
fn select_parts(
    uploaded_parts: &BTreeMap<u32, Arc<Object>>,
    completion: &CompletionRequest,
) -> Result<Vec<Arc<Object>>, StorageError> {
    let rejection = |code, message: &str| Err(StorageError::new(StatusCode::BAD_REQUEST, code, message));
    if completion.parts.is_empty() {
        return rejection("MalformedXML", "there must be at least one part");
    }
    if !completion.parts.is_sorted_by(|previous, next| previous.part_number < next.part_number) {
        return rejection("InvalidPartOrder", "the parts must be in the order of their numbers");
    }
    let mut parts = Vec::new();
    for part in &completion.parts {
        match uploaded_parts.get(&part.part_number) {
            Some(uploaded_part) if uploaded_part.etag().trim_matches('"') == part.etag.trim_matches('"') => {
                parts.push(uploaded_part.clone());
            }
            _ => return rejection("InvalidPart", "a part was not uploaded, or has another ETag"),
        }
    }
    if parts.iter().rev().skip(1).any(|part| part.properties.bytes < MIN_PART_BYTES) {
        return rejection("EntityTooSmall", "every part but the last must have at least 5 MiB");
    }
    Ok(parts)
}
