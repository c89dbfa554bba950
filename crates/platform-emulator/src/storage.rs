//! The object storage, compatible with the XML API of Google Cloud Storage and with S3, path-style (`/bucket/key`).

mod batch;
mod buckets;
mod chunks;
mod conditions;
mod content;
mod copy;
mod digests;
mod form;
mod hexadecimal;
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
use content::BLOCK;
use signature::Verified;

pub(crate) use multiparts::Multiparts;
pub(crate) use object::{Object, Objects, Properties, Upload, checksum_text};
pub(crate) use resumable::Resumables;
pub use service_account::ServiceAccount;
pub(crate) use service_account::ServiceAccounts;
pub(crate) use signed_url::{end, presign};
pub(crate) use storage_error::StorageError;

/// The maximum length of an object name, in bytes.
const MAX_KEY_BYTES: usize = 1024;

pub(crate) fn router(platform: Arc<Platform>) -> Router {
    Router::new().fallback(serve).layer(DefaultBodyLimit::disable()).with_state(platform)
}

/// The target of a request: a bucket or an object in it, and the query.
struct Target {
    /// The path as received.
    path: String,
    /// The bucket; empty for a request about all buckets.
    bucket: String,
    key: Option<String>,
    query: String,
}

impl Target {
    fn of(request: &Request) -> Result<Self, StorageError> {
        let decode = |text: &str| percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned);
        let path = request.uri().path().strip_prefix('/').unwrap_or_default();
        let (bucket, key) = path.split_once('/').map_or((path, None), |(bucket, key)| (bucket, Some(key)));
        let key = key.filter(|key| !key.is_empty()).map(decode).transpose();
        let malformed = |_| StorageError::invalid("the path is not UTF-8");
        let (bucket, key) = (decode(bucket).map_err(malformed)?, key.map_err(malformed)?);
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
    // U+FFFE and U+FFFF are invalid in XML, so that a listing could not contain them.
    let unusable = |character: char| character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}');
    if key.is_empty() || key.chars().any(unusable) || matches!(key, "." | "..") {
        return Err(StorageError::invalid("the key is empty, contains control characters, or is `.` or `..`"));
    }
    Ok(())
}

async fn serve(State(platform): State<Arc<Platform>>, request: Request) -> Result<Response, StorageError> {
    let target = Target::of(&request)?;
    // These requests are not signed: the URL of a resumable upload is secret, and the policy of a form is signed.
    if let Some(id) = target.parameter("upload_id") {
        return resumable::proceed(&platform, &target, &id, request).await;
    }
    if form::is_form(&target, &request) {
        return form::upload(&platform, &target, request).await;
    }
    let verified = signature::verify(&platform, &target.bucket, &request)?;
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
    verified: &Verified,
) -> Result<Response, StorageError> {
    let has = |name| target.parameter(name).is_some();
    match *request.method() {
        Method::GET if target.bucket.is_empty() => Ok(buckets::list(verified)),
        _ if target.bucket.is_empty() => Err(no_such_method(request.method())),
        Method::GET if has("location") => Ok(buckets::location()),
        Method::GET if has("uploads") => uploads::list(platform, target),
        Method::GET => list::list(platform, target),
        Method::HEAD => Ok(StatusCode::OK.into_response()),
        Method::PUT => Err(buckets::create()),
        Method::POST if has("delete") => batch::remove(platform, target, request, verified).await,
        _ => Err(no_such_method(request.method())),
    }
}

async fn serve_object(
    platform: &Platform,
    target: &Target,
    key: &str,
    request: Request,
    verified: &Verified,
) -> Result<Response, StorageError> {
    let headers = request.headers();
    match (request.method().clone(), target.parameter("uploadId")) {
        (Method::GET, Some(id)) => multipart::list_parts(platform, target, &id),
        (Method::GET | Method::HEAD, None) => fetch(platform, target, key, headers).await,
        (Method::PUT, Some(id)) => multipart::put_part(platform, target, &id, request, verified).await,
        (Method::PUT, None) if copy::is_copy(headers) => copy::copy(platform, target, key, headers).await,
        (Method::PUT, None) => write::store(platform, target, key, request, verified).await,
        (Method::DELETE, Some(id)) => multipart::abort(platform, target, &id),
        (Method::DELETE, None) => write::remove(platform, target, key, headers).await,
        (Method::POST, None) if target.parameter("uploads").is_some() => {
            multipart::start(platform, target, key, headers)
        }
        (Method::POST, None) if headers.contains_key("x-goog-resumable") => {
            resumable::start(platform, target, key, headers).await
        }
        (Method::POST, Some(id)) => multipart::complete(platform, target, key, &id, request, verified).await,
        (method, _) => Err(no_such_method(&method)),
    }
}

fn no_such_method(method: &Method) -> StorageError {
    let message = format!("{method} is not supported here");
    StorageError::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
}

fn no_such_key() -> StorageError {
    StorageError::new(StatusCode::NOT_FOUND, "NoSuchKey", "there is no such object")
}

async fn fetch(platform: &Platform, target: &Target, key: &str, asked: &HeaderMap) -> Result<Response, StorageError> {
    let object = platform.objects.get(&target.bucket, key).ok_or_else(no_such_key)?;
    if target.parameter("generation").is_some_and(|wanted| wanted != object.properties.generation.to_string()) {
        return Err(no_such_key());
    }
    conditions::check_generation(asked, Some(&object))?;
    let mut headers = object_headers(&object);
    set(&mut headers, header::CONTENT_TYPE, &object.properties.content_type);
    for (parameter, name) in [
        ("response-content-type", header::CONTENT_TYPE),
        ("response-content-disposition", header::CONTENT_DISPOSITION),
        ("response-cache-control", header::CACHE_CONTROL),
    ] {
        if let Some(value) = target.parameter(parameter) {
            set(&mut headers, name, &value);
        }
    }
    if !conditions::is_wanted(&object, asked)? {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    if let Some(encoding) = &object.properties.content_encoding {
        let fixed = object.properties.metadata.get("cache-control").is_some_and(|value| value.contains("no-transform"));
        if encoding == "gzip" && !fixed && !conditions::accepts_gzip(asked) {
            return decompressed(&object, headers).await;
        }
        set(&mut headers, header::CONTENT_ENCODING, encoding);
    }
    let size = object.properties.bytes;
    let (status, range) = match conditions::select(&object, asked)? {
        Selection::Whole => (StatusCode::OK, 0..size),
        Selection::Part(range) => {
            set(&mut headers, header::CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
            (StatusCode::PARTIAL_CONTENT, range)
        }
    };
    set(&mut headers, header::ACCEPT_RANGES, "bytes");
    headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    let body = object.read(range).await.map_err(StorageError::internal)?;
    Ok((status, headers, body).into_response())
}

/// Returns the decompressed content of a compressed object, for clients that do not accept the encoding. Ranges are not
/// supported, and the response has no length.
async fn decompressed(object: &Object, mut headers: HeaderMap) -> Result<Response, StorageError> {
    let stored = object.read(0..object.properties.bytes).await.map_err(StorageError::internal)?;
    let stored = StreamReader::new(stored.into_data_stream().map_err(std::io::Error::other));
    let stream = ReaderStream::with_capacity(GzipDecoder::new(stored), BLOCK);
    set(&mut headers, header::WARNING, "214 UploadServer gunzipped");
    set(&mut headers, HeaderName::from_static("x-guploader-response-body-transformations"), "gunzipped");
    Ok((StatusCode::OK, headers, Body::from_stream(stream)).into_response())
}

fn object_headers(object: &Object) -> HeaderMap {
    let properties = &object.properties;
    let mut headers = HeaderMap::new();
    set(&mut headers, header::ETAG, &object.etag());
    for (name, value) in &properties.metadata {
        if let Ok(name) = HeaderName::try_from(name) {
            set(&mut headers, name, value);
        }
    }
    set(&mut headers, header::LAST_MODIFIED, &conditions::http_date(properties.created_at));
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
        set(&mut headers, HeaderName::from_static(name), &value);
    }
    headers
}

/// Sets a header, unless the value is invalid.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Returns the value of a header, or `application/octet-stream` if it is missing.
fn header_or_default_type<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("application/octet-stream")
}

/// Returns the encoding of the stored bytes. `aws-chunked` is removed, because it describes only the transfer.
fn content_encoding(headers: &HeaderMap) -> Option<String> {
    let encodings = text(headers.get(header::CONTENT_ENCODING)?);
    let stored: Vec<_> = encodings.split(',').map(str::trim).filter(|encoding| *encoding != "aws-chunked").collect();
    (!stored.is_empty()).then(|| stored.join(","))
}

/// Returns the headers that are stored with an object and returned with it: custom metadata, and the headers for
/// caching and display.
fn metadata(headers: &HeaderMap) -> BTreeMap<String, String> {
    const STORED_HEADERS: [HeaderName; 3] =
        [header::CACHE_CONTROL, header::CONTENT_DISPOSITION, header::CONTENT_LANGUAGE];
    let own =
        |name: &HeaderName| ["x-amz-meta-", "x-goog-meta-"].iter().any(|prefix| name.as_str().starts_with(prefix));
    let kept = headers.iter().filter(|(name, _)| own(name) || STORED_HEADERS.contains(name));
    kept.map(|(name, value)| (name.to_string(), text(value))).collect()
}

impl Platform {
    /// Stores an object with the current time as its creation time. Replaces an existing object.
    pub(crate) async fn put_object(&self, bucket: &str, key: &str, object: Object) -> std::io::Result<Arc<Object>> {
        let kept = self.put_object_if(bucket, key, object, |_| Ok::<_, Infallible>(())).await?;
        Ok(kept.unwrap_or_else(|never| match never {}))
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

/// Replaces the object at a path, if it exists, by another object of the same size.
pub(crate) async fn replace(platform: &Platform, path: &str) {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let Some((bucket, key)) = decoded.trim_start_matches('/').split_once('/') else { return };
    if let Some(object) = platform.objects.get(bucket, key)
        && let Err(error) = platform.put_object(bucket, key, object.replacement()).await
    {
        tracing::error!(%error, "an object could not be replaced");
    }
}
