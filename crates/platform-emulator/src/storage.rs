//! The object storage, compatible with the XML API of Google Cloud Storage and with S3, path-style (`/bucket/key`).

mod batch;
mod buckets;
mod chunks;
mod conditions;
mod content;
mod copy;
mod digests;
mod form;
mod legacy;
mod length_range;
mod list;
mod multipart;
mod multiparts;
mod object;
mod policy;
mod resumable;
mod self_signed;
mod service_account;
mod signature;
mod signed_url;
mod storage_error;
mod unsupported;
mod uploads;
mod write;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use async_compression::tokio::bufread::GzipDecoder;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use percent_encoding::percent_decode_str;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::platform::Platform;
use conditions::Selection;
pub(crate) use conditions::http_date;
use content::BUFFER_BYTES;
use signature::VerifiedRequest;

pub(crate) use multiparts::MultipartUploads;
pub(crate) use object::{Object, Objects, Properties, Upload, checksum_text};
pub(crate) use resumable::ResumableUploads;
pub use service_account::ServiceAccount;
pub(crate) use service_account::ServiceAccounts;
pub(crate) use signed_url::{presign, url_expiry};
pub(crate) use storage_error::StorageError;

/// The maximum length of an object name, in bytes.
const MAX_KEY_BYTES: usize = 1024;

pub(crate) fn router(platform: Arc<Platform>) -> Router {
    Router::new().fallback(serve).layer(DefaultBodyLimit::disable()).with_state(platform)
}

/// The target of a request: a bucket or an object in a bucket, and the query.
struct Target {
    /// The path as received.
    path: String,
    /// The bucket; empty for a request about all buckets.
    bucket: String,
    key: Option<String>,
    query: String,
}

impl Target {
    fn from_request(request: &Request) -> Result<Self, StorageError> {
        let decode = |text: &str| percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned);
        let path = request.uri().path().strip_prefix('/').unwrap_or_default();
        let (bucket, key) = path.split_once('/').map_or((path, None), |(bucket, key)| (bucket, Some(key)));
        let key = key.filter(|key| !key.is_empty()).map(decode).transpose();
        let invalid_utf8 = |_| StorageError::invalid("the path is not UTF-8");
        let (bucket, key) = (decode(bucket).map_err(invalid_utf8)?, key.map_err(invalid_utf8)?);
        key.as_deref().map(check_key).transpose()?;
        // Only the request for the list of all buckets has no bucket.
        if bucket.is_empty() && key.is_some() {
            return Err(StorageError::new(StatusCode::NOT_FOUND, "NoSuchBucket", "there is no such bucket"));
        }
        let path = request.uri().path().to_owned();
        Ok(Self { path, bucket, key, query: request.uri().query().unwrap_or_default().to_owned() })
    }

    /// Returns a decoded query parameter. A name without a value is empty.
    fn parameter(&self, name: &str) -> Option<String> {
        signature::parameter(&self.query, name)
    }
}

/// Rejects invalid object keys.
fn check_key(key: &str) -> Result<(), StorageError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(StorageError::new(StatusCode::BAD_REQUEST, "KeyTooLongError", "the key has more than 1024 bytes"));
    }
    // U+FFFE and U+FFFF are invalid in XML. A listing could not contain them.
    let is_invalid = |character: char| character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}');
    if key.is_empty() || key.chars().any(is_invalid) || matches!(key, "." | "..") {
        return Err(StorageError::invalid("the key is empty, contains control characters, or is `.` or `..`"));
    }
    Ok(())
}

async fn serve(State(platform): State<Arc<Platform>>, request: Request) -> Result<Response, StorageError> {
    let target = Target::from_request(&request)?;
    // These two requests have no signature of the request. The URL of a resumable upload is a secret, and a form has a
    // signed policy.
    if let Some(id) = target.parameter("upload_id") {
        return resumable::handle(&platform, &target, &id, request).await;
    }
    if form::is_form(&target, &request) {
        return form::upload(&platform, &target, request).await;
    }
    let verified = signature::verify_request(&platform, &target.bucket, &request)?;
    unsupported::check(request.method(), &target, request.headers())?;
    match &target.key {
        Some(key) => serve_object(&platform, &target, key, request, &verified).await,
        None => serve_bucket(&platform, &target, request, &verified).await,
    }
}

/// Serves a request about a bucket, or about all buckets.
async fn serve_bucket(
    platform: &Platform,
    target: &Target,
    request: Request,
    verified: &VerifiedRequest,
) -> Result<Response, StorageError> {
    let has = |name| target.parameter(name).is_some();
    match *request.method() {
        Method::GET if target.bucket.is_empty() => Ok(buckets::list(verified)),
        _ if target.bucket.is_empty() => Err(method_not_allowed(request.method())),
        Method::GET if has("location") => Ok(buckets::location()),
        Method::GET if has("uploads") => uploads::list(platform, target),
        Method::GET => list::list(platform, target),
        Method::HEAD => Ok(StatusCode::OK.into_response()),
        Method::PUT => Err(buckets::already_exists()),
        Method::POST if has("delete") => batch::delete_objects(platform, target, request, verified).await,
        _ => Err(method_not_allowed(request.method())),
    }
}

async fn serve_object(
    platform: &Platform,
    target: &Target,
    key: &str,
    request: Request,
    verified: &VerifiedRequest,
) -> Result<Response, StorageError> {
    let headers = request.headers();
    match (request.method().clone(), target.parameter("uploadId")) {
        (Method::GET, Some(id)) => multipart::list_parts(platform, target, &id),
        (Method::GET | Method::HEAD, None) => get_object(platform, target, key, headers).await,
        (Method::PUT, Some(id)) => multipart::put_part(platform, target, &id, request, verified).await,
        (Method::PUT, None) if copy::is_copy(headers) => copy::copy_object(platform, target, key, headers).await,
        (Method::PUT, None) => write::put_object(platform, target, key, request, verified).await,
        (Method::DELETE, Some(id)) => multipart::abort(platform, target, &id),
        (Method::DELETE, None) => write::delete_object(platform, target, key, headers).await,
        (Method::POST, None) if target.parameter("uploads").is_some() => {
            multipart::start(platform, target, key, headers)
        }
        (Method::POST, None) if headers.contains_key("x-goog-resumable") => {
            resumable::start(platform, target, key, headers).await
        }
        (Method::POST, Some(id)) => multipart::complete(platform, target, key, &id, request, verified).await,
        (method, _) => Err(method_not_allowed(&method)),
    }
}

fn method_not_allowed(method: &Method) -> StorageError {
    let message = format!("{method} is not supported here");
    StorageError::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
}

fn no_such_key() -> StorageError {
    StorageError::new(StatusCode::NOT_FOUND, "NoSuchKey", "there is no such object")
}

async fn get_object(
    platform: &Platform,
    target: &Target,
    key: &str,
    request_headers: &HeaderMap,
) -> Result<Response, StorageError> {
    let object = platform.objects.get(&target.bucket, key).ok_or_else(no_such_key)?;
    if target.parameter("generation").is_some_and(|generation| generation != object.properties.generation.to_string()) {
        return Err(no_such_key());
    }
    conditions::check_generation(request_headers, Some(&object))?;
    let mut headers = object_headers(&object);
    set_header(&mut headers, header::CONTENT_TYPE, &object.properties.content_type);
    for (parameter, name) in [
        ("response-content-type", header::CONTENT_TYPE),
        ("response-content-disposition", header::CONTENT_DISPOSITION),
        ("response-cache-control", header::CACHE_CONTROL),
    ] {
        if let Some(value) = target.parameter(parameter) {
            set_header(&mut headers, name, &value);
        }
    }
    if !conditions::is_modified(&object, request_headers)? {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    if let Some(encoding) = &object.properties.content_encoding {
        let is_transform_forbidden =
            object.properties.metadata.get("cache-control").is_some_and(|value| value.contains("no-transform"));
        if encoding == "gzip" && !is_transform_forbidden && !conditions::accepts_gzip(request_headers) {
            return decompressed_response(&object, headers).await;
        }
        set_header(&mut headers, header::CONTENT_ENCODING, encoding);
    }
    let size = object.properties.bytes;
    let (status, range) = match conditions::select_range(&object, request_headers)? {
        Selection::Whole => (StatusCode::OK, 0..size),
        Selection::Part(range) => {
            set_header(&mut headers, header::CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
            (StatusCode::PARTIAL_CONTENT, range)
        }
    };
    set_header(&mut headers, header::ACCEPT_RANGES, "bytes");
    headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    let body = object.read(range).await.map_err(StorageError::internal)?;
    Ok((status, headers, body).into_response())
}

/// Returns the decompressed content of a compressed object, for clients that do not accept the encoding. Ranges are not
/// supported, and the response has no length.
async fn decompressed_response(object: &Object, mut headers: HeaderMap) -> Result<Response, StorageError> {
    let compressed = object.read(0..object.properties.bytes).await.map_err(StorageError::internal)?;
    let compressed = StreamReader::new(compressed.into_data_stream().map_err(std::io::Error::other));
    let stream = ReaderStream::with_capacity(GzipDecoder::new(compressed), BUFFER_BYTES);
    set_header(&mut headers, header::WARNING, "214 UploadServer gunzipped");
    set_header(&mut headers, HeaderName::from_static("x-guploader-response-body-transformations"), "gunzipped");
    Ok((StatusCode::OK, headers, Body::from_stream(stream)).into_response())
}

fn object_headers(object: &Object) -> HeaderMap {
    let properties = &object.properties;
    let mut headers = HeaderMap::new();
    set_header(&mut headers, header::ETAG, &object.etag());
    for (name, value) in &properties.metadata {
        if let Ok(name) = HeaderName::try_from(name) {
            set_header(&mut headers, name, value);
        }
    }
    set_header(&mut headers, header::LAST_MODIFIED, &conditions::http_date(properties.created_at));
    for (name, value) in [
        ("x-goog-hash", format!("crc32c={}", checksum_text(properties.crc32c))),
        ("x-goog-generation", properties.generation.to_string()),
        ("x-goog-metageneration", conditions::METAGENERATION.to_owned()),
        ("x-goog-stored-content-length", properties.bytes.to_string()),
        (
            "x-goog-stored-content-encoding",
            properties.content_encoding.clone().unwrap_or_else(|| "identity".to_owned()),
        ),
    ] {
        set_header(&mut headers, HeaderName::from_static(name), &value);
    }
    headers
}

/// Sets a header, unless the value is invalid.
fn set_header(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn header_text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Returns the value of a header, or `application/octet-stream` if it is missing.
fn header_or_default_type<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("application/octet-stream")
}

/// Returns the encoding of the stored bytes. `aws-chunked` is removed, because it describes only the transfer.
fn content_encoding(headers: &HeaderMap) -> Option<String> {
    let encodings = header_text(headers.get(header::CONTENT_ENCODING)?);
    let stored: Vec<_> = encodings.split(',').map(str::trim).filter(|encoding| *encoding != "aws-chunked").collect();
    (!stored.is_empty()).then(|| stored.join(","))
}

/// Returns the headers that are stored with an object and returned with it: custom metadata, and the headers for
/// caching and display.
fn metadata(headers: &HeaderMap) -> BTreeMap<String, String> {
    const STORED_HEADERS: [HeaderName; 3] =
        [header::CACHE_CONTROL, header::CONTENT_DISPOSITION, header::CONTENT_LANGUAGE];
    let is_custom_metadata =
        |name: &HeaderName| ["x-amz-meta-", "x-goog-meta-"].iter().any(|prefix| name.as_str().starts_with(prefix));
    let stored_headers = headers.iter().filter(|(name, _)| is_custom_metadata(name) || STORED_HEADERS.contains(name));
    stored_headers.map(|(name, value)| (name.to_string(), header_text(value))).collect()
}

impl Platform {
    /// Stores an object with the current time as its creation time. Replaces an existing object.
    pub(crate) async fn put_object(&self, bucket: &str, key: &str, object: Object) -> std::io::Result<Arc<Object>> {
        let result = self.put_object_if(bucket, key, object, |_| Ok::<_, Infallible>(())).await?;
        Ok(result.unwrap_or_else(|never| match never {}))
    }

    /// Stores an object like [`put_object`](Self::put_object), if `check` of the existing object succeeds.
    pub(crate) async fn put_object_if<E>(
        &self,
        bucket: &str,
        key: &str,
        mut object: Object,
        check: impl FnOnce(Option<&Object>) -> Result<(), E>,
    ) -> std::io::Result<Result<Arc<Object>, E>> {
        object.properties.created_at = self.timestamp();
        self.objects.put(self.state.store(), bucket, key, object, check).await
    }
}

/// If an object exists at a path, replaces it by another object of the same size.
pub(crate) async fn replace_object(platform: &Platform, path: &str) {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let Some((bucket, key)) = decoded.trim_start_matches('/').split_once('/') else { return };
    if let Some(object) = platform.objects.get(bucket, key)
        && let Err(error) = platform.put_object(bucket, key, object.replacement()).await
    {
        tracing::error!(%error, "an object could not be replaced");
    }
}
