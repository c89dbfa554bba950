//! The object storage: signed PUT and GET, path-style (`/bucket/key`).

mod object;
mod signature;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::TryStreamExt;
use tokio_util::io::ReaderStream;

use crate::platform::Platform;

pub(crate) use object::{Object, Objects, checksum_text};
pub(crate) use signature::presign;

/// Files are read in pieces of this size.
const BLOCK: usize = 256 * 1024;

pub(crate) fn router(platform: Arc<Platform>) -> Router {
    Router::new().route("/{bucket}/{*key}", get(fetch).put(store)).with_state(platform)
}

/// An error answer as S3-compatible storages give it.
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    #[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` calls")]
    fn internal(error: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = format!(
            "<?xml version=\"1.0\"?><Error><Code>{}</Code><Message>{}</Message></Error>",
            self.code, self.message
        );
        (self.status, [(header::CONTENT_TYPE, "application/xml")], body).into_response()
    }
}

async fn store(
    State(platform): State<Arc<Platform>>,
    Path((bucket, key)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    signature::verify(&platform, &bucket, &request)?;
    let headers = request.headers().clone();
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/octet-stream");
    let mut upload = platform.objects.create().await.map_err(Refusal::internal)?;
    let mut body = request.into_body().into_data_stream();
    while let Some(piece) = body
        .try_next()
        .await
        .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "IncompleteBody", "the body broke off"))?
    {
        upload.write(&piece).await.map_err(Refusal::internal)?;
    }
    let object = upload.finish(content_type).await.map_err(Refusal::internal)?;
    if stated_checksum(&headers).is_some_and(|stated| stated != checksum_text(object.about.crc32c)) {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "BadDigest",
            "the body does not have the CRC32C that was stated",
        ));
    }
    let hash = object_headers(&object);
    platform.objects.put(platform.state.store(), &bucket, &key, object).await.map_err(Refusal::internal)?;
    Ok((StatusCode::OK, hash).into_response())
}

async fn fetch(
    State(platform): State<Arc<Platform>>,
    Path((bucket, key)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    signature::verify(&platform, &bucket, &request)?;
    let object = platform
        .objects
        .get(&bucket, &key)
        .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "NoSuchKey", "there is no such object"))?;
    let file = object.open().await.map_err(Refusal::internal)?;
    let mut headers = object_headers(&object);
    headers.insert(header::CONTENT_LENGTH, object.about.bytes.into());
    if let Ok(value) = HeaderValue::from_str(&object.about.content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    Ok((headers, Body::from_stream(ReaderStream::with_capacity(file, BLOCK))).into_response())
}

fn object_headers(object: &Object) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let checksum = checksum_text(object.about.crc32c);
    for (name, value) in [("x-goog-hash", format!("crc32c={checksum}")), ("etag", format!("\"{}\"", object.about.tag))]
    {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    headers
}

/// The CRC32C that the sender states in `x-goog-hash`.
fn stated_checksum(headers: &HeaderMap) -> Option<&str> {
    let hashes = headers.get("x-goog-hash")?.to_str().ok()?;
    hashes.split(',').find_map(|hash| hash.trim().strip_prefix("crc32c="))
}
