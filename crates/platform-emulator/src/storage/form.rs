//! Uploads with a form whose policy is signed (presigned POST).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::extract::multipart::{Field, Multipart};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde::Serialize;

use super::policy::{Fields, verify_policy};
use super::storage_error::xml_response;
use super::{
    StorageError, Target, check_key, content_encoding, digests, header_or_default_type, metadata, object_headers,
    unsupported,
};
use crate::platform::Platform;

/// The maximum size in bytes of all fields before the file, as in S3.
const MAX_FIELD_BYTES: usize = 20 * 1024;
/// The maximum size in bytes of a form before its file, including bytes that the parser reads in advance.
const MAX_HEAD_BYTES: usize = 4 * 1024 * 1024;

#[derive(Serialize)]
#[serde(rename = "PostResponse", rename_all = "PascalCase")]
struct PostResponse<'a> {
    location: String,
    bucket: &'a str,
    key: &'a str,
    #[serde(rename = "ETag")]
    etag: String,
}

/// Returns true if a request is a form sent to a bucket.
pub(super) fn is_form(target: &Target, request: &Request) -> bool {
    let media_type = header_or_default_type(request.headers(), &header::CONTENT_TYPE);
    request.method() == Method::POST && target.key.is_none() && media_type.starts_with("multipart/form-data")
}

pub(super) async fn upload(platform: &Platform, target: &Target, request: Request) -> Result<Response, StorageError> {
    // True until the file begins.
    let is_in_head = Arc::new(AtomicBool::new(true));
    let request = limit_head(request, is_in_head.clone());
    let mut form = Multipart::from_request(request, &()).await.map_err(malformed)?;
    let (mut fields, mut bytes) = (Fields::new(), 0);
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        let name = field.name().unwrap_or_default().to_ascii_lowercase();
        if name == "file" {
            is_in_head.store(false, Ordering::Relaxed);
            return store_file(platform, target, fields, field).await;
        }
        bytes += name.len();
        let value = read_field(field, &mut bytes).await?;
        fields.insert(name, value);
    }
    Err(StorageError::invalid("the form has no file"))
}

/// Limits the number of bytes before the file. The parser buffers these bytes before a signature is verified.
fn limit_head(request: Request, is_in_head: Arc<AtomicBool>) -> Request {
    let (parts, body) = request.into_parts();
    let mut bytes = 0;
    let body = body.into_data_stream().map(move |chunk| {
        let chunk = chunk.map_err(io::Error::other)?;
        bytes += chunk.len();
        let is_permitted = bytes <= MAX_HEAD_BYTES || !is_in_head.load(Ordering::Relaxed);
        if is_permitted { Ok(chunk) } else { Err(io::Error::other("the form has no file within its first 4 MiB")) }
    });
    Request::from_parts(parts, Body::from_stream(body))
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` passes the error by value")]
fn malformed(error: impl ToString) -> StorageError {
    StorageError::new(StatusCode::BAD_REQUEST, "MalformedPOSTRequest", error.to_string())
}

/// Reads a field, and adds its size to `bytes`, the size of all fields so far.
async fn read_field(mut field: Field<'_>, bytes: &mut usize) -> Result<String, StorageError> {
    let mut text = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(malformed)? {
        *bytes += chunk.len();
        if *bytes > MAX_FIELD_BYTES {
            return Err(malformed("the fields before the file have more than 20 KiB"));
        }
        text.extend_from_slice(&chunk);
    }
    String::from_utf8(text).map_err(malformed)
}

/// Stores the file of a form. Fields after it are ignored, as in S3.
async fn store_file(
    platform: &Platform,
    target: &Target,
    mut fields: Fields,
    mut file: Field<'_>,
) -> Result<Response, StorageError> {
    fields.insert("bucket".to_owned(), target.bucket.clone());
    if let Some(key) = fields.get_mut("key") {
        *key = key.replace("${filename}", file.file_name().unwrap_or_default());
    }
    let range = verify_policy(platform, &target.bucket, &fields)?;
    if fields.keys().any(|name| matches!(name.as_str(), "success_action_redirect" | "redirect" | "acl" | "tagging")) {
        return Err(StorageError::not_implemented(
            "redirects, access control lists and tags of forms are not supported",
        ));
    }
    let headers = fields_as_headers(&fields);
    unsupported::check(&Method::POST, target, &headers)?;
    let mut digests = digests::ExpectedDigests::of_request(&headers)?;
    let key = fields.get("key").ok_or_else(|| StorageError::invalid("the form has no key"))?;
    check_key(key)?;
    let mut upload = platform.objects.create().await.map_err(StorageError::internal)?;
    while let Some(chunk) = file.chunk().await.map_err(malformed)? {
        range.check_maximum(upload.bytes() + chunk.len() as u64)?;
        upload.write(&chunk).await.map_err(StorageError::internal)?;
        digests.update(&chunk);
    }
    range.check_minimum(upload.bytes())?;
    digests.check()?;
    let mut object =
        upload.finish(header_or_default_type(&headers, &header::CONTENT_TYPE)).await.map_err(StorageError::internal)?;
    object.properties.content_encoding = content_encoding(&headers);
    object.properties.metadata = metadata(&headers);
    let object = platform.put_object(&target.bucket, key, object).await.map_err(StorageError::internal)?;
    let headers = object_headers(&object);
    match fields.get("success_action_status").map(String::as_str) {
        Some("200") => Ok((StatusCode::OK, headers).into_response()),
        Some("201") => {
            let location = format!("{}{}/{key}", platform.storage, target.bucket);
            let body = xml_response(&PostResponse { location, bucket: &target.bucket, key, etag: object.etag() });
            Ok((StatusCode::CREATED, body).into_response())
        }
        _ => Ok((StatusCode::NO_CONTENT, headers).into_response()),
    }
}

/// Returns the fields of a form as headers, because the code for PUT requests expects headers.
fn fields_as_headers(fields: &Fields) -> HeaderMap {
    let header = |(name, value): (&String, &String)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    fields.iter().filter_map(header).collect()
}
