//! Uploads and deletions of objects.

use aws_lc_rs::digest;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;

use super::chunks::ChunkDecoder;
use super::length_range::LengthRange;
use super::signature::VerifiedRequest;
use super::{
    StorageError, Target, Upload, conditions, content_encoding, digests, header_or_default_type, metadata, no_such_key,
    object_headers,
};
use crate::platform::Platform;

/// Stores a body while it arrives. `check` is called with the number of received bytes, and can reject the upload.
pub(super) async fn receive_upload(
    platform: &Platform,
    request: Request,
    verified: &VerifiedRequest,
    check: impl Fn(u64) -> Result<(), StorageError>,
) -> Result<Upload, StorageError> {
    let mut expected_digests = digests::ExpectedDigests::of_request(request.headers())?;
    let range = LengthRange::for_request(request.headers())?;
    let mut decoder = verified.is_chunked().then(ChunkDecoder::default);
    if decoder.is_some() {
        for name in trailer_names(request.headers()) {
            expected_digests.announce_trailer(name)?;
        }
    }
    let mut body = request.into_body().into_data_stream();
    let mut upload = platform.objects.create().await.map_err(StorageError::internal)?;
    let mut digest = verified.digest();
    while let Some(mut part) = body.try_next().await.map_err(|_| incomplete_body())? {
        if let Some(decoder) = &mut decoder {
            part = decoder.decode(&part)?.into();
        }
        let bytes = upload.bytes() + part.len() as u64;
        range.check_maximum(bytes)?;
        check(bytes)?;
        if let Some(digest) = &mut digest {
            digest.update(&part);
        }
        expected_digests.update(&part);
        upload.write(&part).await.map_err(StorageError::internal)?;
    }
    for (name, value) in decoder.map(ChunkDecoder::finish).transpose()?.unwrap_or_default() {
        expected_digests.set_from_trailer(&name, &value)?;
    }
    range.check_minimum(upload.bytes())?;
    verified.check(digest.map(digest::Context::finish).as_ref())?;
    expected_digests.check()?;
    Ok(upload)
}

/// Reads a small body, such as a list of objects. Digests in headers are not checked.
pub(super) async fn read_small_body(
    request: Request,
    verified: &VerifiedRequest,
    limit: usize,
    malformed: impl Fn() -> StorageError,
) -> Result<String, StorageError> {
    let body = to_bytes(request.into_body(), limit).await.map_err(|_| malformed())?;
    verified.check(verified.digest().map(|_| digest::digest(&digest::SHA256, &body)).as_ref())?;
    String::from_utf8(body.into()).map_err(|_| malformed())
}

/// Returns the error for a truncated body.
pub(super) fn incomplete_body() -> StorageError {
    StorageError::new(StatusCode::BAD_REQUEST, "IncompleteBody", "the body is incomplete")
}

/// Returns the names of the announced trailers.
fn trailer_names(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let names = headers.get_all("x-amz-trailer").iter().filter_map(|value| value.to_str().ok());
    names.flat_map(|names| names.split(',').map(str::trim))
}

pub(super) async fn put_object(
    platform: &Platform,
    target: &Target,
    key: &str,
    request: Request,
    verified: &VerifiedRequest,
) -> Result<Response, StorageError> {
    let headers = request.headers().clone();
    conditions::check_write(&headers, platform.objects.get(&target.bucket, key).as_deref())?;
    let upload = receive_upload(platform, request, verified, |_| Ok(())).await?;
    let mut object =
        upload.finish(header_or_default_type(&headers, &header::CONTENT_TYPE)).await.map_err(StorageError::internal)?;
    object.properties.content_encoding = content_encoding(&headers);
    object.properties.metadata = metadata(&headers);
    // A concurrent request may have written the object while the body arrived.
    let check = |current: Option<&super::Object>| conditions::check_write(&headers, current);
    let object = platform.put_object_if(&target.bucket, key, object, check).await.map_err(StorageError::internal)??;
    Ok((StatusCode::OK, object_headers(&object)).into_response())
}

pub(super) async fn delete_object(
    platform: &Platform,
    target: &Target,
    key: &str,
    headers: &HeaderMap,
) -> Result<Response, StorageError> {
    let generation = target.parameter("generation");
    let check = |current: &super::Object| match &generation {
        Some(generation) if *generation != current.properties.generation.to_string() => Err(no_such_key()),
        _ => conditions::check_delete(headers, current),
    };
    let removal = platform.objects.remove(platform.state.store(), &target.bucket, key, check).await;
    if removal.map_err(StorageError::internal)?? {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(no_such_key())
    }
}
