//! Resumable uploads of the XML API (`x-goog-resumable: start`). They exist only in memory.
//!
//! The URL of an upload authorizes all requests to the upload. A request with `Content-Range` sends the next part of
//! the object. An empty request with `bytes */*` queries the state: the response is 308 with the received range until
//! the upload is complete.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use parking_lot::Mutex;

use super::digests::ExpectedDigests;
use super::length_range::LengthRange;
use super::multiparts::{no_such_upload, slow_down};
use super::write::incomplete_body;
use super::{
    Object, StorageError, Target, Upload, conditions, content_encoding, header_or_default_type, metadata,
    object_headers, set_header,
};
use crate::platform::Platform;

/// The size of each part except the last must be a multiple of this number of bytes: 256 KiB.
const PART_SIZE_UNIT: u64 = 256 * 1024;
/// The maximum number of resumable uploads.
const MAX_SESSIONS: usize = 10_000;
/// The status of the response to the cancellation of an upload.
const CANCELED_STATUS: u16 = 499;

/// All resumable uploads, by id.
#[derive(Default)]
pub(crate) struct ResumableUploads(Mutex<HashMap<String, Arc<Session>>>);

/// A resumable upload. Its requests are handled sequentially.
struct Session {
    bucket: String,
    key: String,
    /// The headers of the request that started the upload.
    headers: HeaderMap,
    started_at: SystemTime,
    progress: tokio::sync::Mutex<Progress>,
}

impl Session {
    /// Returns true if the upload is complete or has failed, and no request is in progress. The client may still query
    /// the result of such an upload.
    fn has_ended(&self) -> bool {
        self.progress.try_lock().is_ok_and(|progress| !matches!(*progress, Progress::Open(_)))
    }

    fn has_expired(&self, platform: &Platform) -> bool {
        let lifetime = Duration::from_secs(platform.config.upload_lifetime_seconds);
        platform.now().duration_since(self.started_at).is_ok_and(|age| age >= lifetime)
    }
}

/// The state of an upload.
enum Progress {
    Open(Box<OpenUpload>),
    /// The headers of the object.
    Complete(HeaderMap),
    /// A request failed, and the upload cannot be continued.
    Failed,
}

/// The received bytes of an upload, and their expected digests.
struct OpenUpload {
    upload: Upload,
    digests: ExpectedDigests,
}

/// The part of the object that a request sends.
struct ContentRange {
    /// The first and the last byte; `None` for a request without content.
    first_and_last: Option<(u64, u64)>,
    /// The size of the object, if the client knows it.
    total: Option<u64>,
}

pub(super) async fn start(
    platform: &Platform,
    target: &Target,
    key: &str,
    headers: &HeaderMap,
) -> Result<Response, StorageError> {
    if headers.get("x-goog-resumable").is_some_and(|value| value != "start") {
        return Err(StorageError::invalid("x-goog-resumable can only be `start`"));
    }
    LengthRange::for_object(headers)?;
    conditions::check_write(headers, platform.objects.get(&target.bucket, key).as_deref())?;
    let upload = platform.objects.create().await.map_err(StorageError::internal)?;
    let open = OpenUpload { upload, digests: ExpectedDigests::of_request(headers)? };
    let mut headers = headers.clone();
    headers.remove(header::AUTHORIZATION);
    let session = Session {
        bucket: target.bucket.clone(),
        key: key.to_owned(),
        headers,
        started_at: platform.now(),
        progress: Progress::Open(Box::new(open)).into(),
    };
    let id = platform.random.token();
    let mut sessions = platform.resumables.0.lock();
    sessions.retain(|_, session| !session.has_expired(platform));
    if sessions.len() == MAX_SESSIONS {
        sessions.retain(|_, session| !session.has_ended());
    }
    if sessions.len() == MAX_SESSIONS {
        return Err(slow_down("there are too many resumable uploads"));
    }
    sessions.insert(id.clone(), Arc::new(session));
    drop(sessions);
    let mut url = platform.storage.clone();
    url.set_path(&target.path);
    url.query_pairs_mut().append_pair("upload_id", &id);
    let mut response = StatusCode::CREATED.into_response();
    set_header(response.headers_mut(), header::LOCATION, url.as_str());
    Ok(response)
}

/// Handles a request to an upload.
pub(super) async fn handle(
    platform: &Platform,
    target: &Target,
    id: &str,
    request: Request,
) -> Result<Response, StorageError> {
    let session = platform.resumables.0.lock().get(id).cloned();
    let session = session.filter(|session| {
        session.bucket == target.bucket
            && target.key.as_ref().is_some_and(|key| *key == session.key)
            && !session.has_expired(platform)
    });
    let session = session.ok_or_else(no_such_upload)?;
    match *request.method() {
        Method::PUT => session.put(platform, request).await,
        Method::DELETE => {
            // Waits for a request in progress, so that it cannot store the object after the cancellation.
            *session.progress.lock().await = Progress::Failed;
            platform.resumables.0.lock().remove(id);
            Ok(StatusCode::from_u16(CANCELED_STATUS).unwrap_or(StatusCode::GONE).into_response())
        }
        _ => Err(StorageError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "an upload accepts PUT and DELETE",
        )),
    }
}

impl Session {
    async fn put(&self, platform: &Platform, request: Request) -> Result<Response, StorageError> {
        let range = ContentRange::of(request.headers())?;
        let mut progress = self.progress.lock().await;
        let open = match &mut *progress {
            Progress::Open(open) => open,
            Progress::Complete(headers) => return Ok((StatusCode::OK, headers.clone()).into_response()),
            Progress::Failed => {
                return Err(StorageError::new(StatusCode::GONE, "InvalidState", "the upload has failed"));
            }
        };
        match &range {
            Some(range) => range.check(open.upload.bytes())?,
            None if open.upload.bytes() > 0 => return Err(StorageError::invalid("the Content-Range is missing")),
            None => {}
        }
        open.upload.discard_incomplete().await.map_err(StorageError::internal)?;
        self.receive(open, request, range.as_ref()).await?;
        let received = open.upload.bytes();
        if range.is_some_and(|range| range.total != Some(received)) {
            return Ok(incomplete_response(received));
        }
        match std::mem::replace(&mut *progress, Progress::Failed) {
            Progress::Open(open) => {
                let headers = object_headers(&*self.finish(platform, *open).await?);
                *progress = Progress::Complete(headers.clone());
                Ok((StatusCode::OK, headers).into_response())
            }
            Progress::Complete(_) | Progress::Failed => Err(StorageError::internal("the upload changed")),
        }
    }

    /// Appends the body to the upload. If the connection fails, the upload keeps the received bytes.
    async fn receive(
        &self,
        open: &mut OpenUpload,
        request: Request,
        range: Option<&ContentRange>,
    ) -> Result<(), StorageError> {
        let length_range = LengthRange::for_object(&self.headers)?;
        let end = range.and_then(|range| range.first_and_last).map(|(_, last)| last + 1);
        let mut body = request.into_body().into_data_stream();
        while let Some(chunk) = body.try_next().await.map_err(|_| incomplete_body())? {
            let length = open.upload.bytes() + chunk.len() as u64;
            if range.is_some() && end.is_none_or(|end| length > end) {
                return Err(StorageError::invalid("the body is longer than its Content-Range"));
            }
            length_range.check_maximum(length)?;
            // If the write is canceled, neither the upload nor the digests count the chunk.
            open.upload.write(&chunk).await.map_err(StorageError::internal)?;
            open.digests.update(&chunk);
        }
        if end.is_some_and(|end| open.upload.bytes() != end) { Err(incomplete_body()) } else { Ok(()) }
    }

    async fn finish(&self, platform: &Platform, open: OpenUpload) -> Result<Arc<Object>, StorageError> {
        let headers = &self.headers;
        LengthRange::for_object(headers)?.check_minimum(open.upload.bytes())?;
        open.digests.check()?;
        let mut object = open
            .upload
            .finish(header_or_default_type(headers, &header::CONTENT_TYPE))
            .await
            .map_err(StorageError::internal)?;
        object.properties.content_encoding = content_encoding(headers);
        object.properties.metadata = metadata(headers);
        let check = |current: Option<&Object>| conditions::check_write(headers, current);
        platform.put_object_if(&self.bucket, &self.key, object, check).await.map_err(StorageError::internal)?
    }
}

impl ContentRange {
    /// Returns the range of a request, or `None` for the whole object.
    fn of(headers: &HeaderMap) -> Result<Option<Self>, StorageError> {
        let Some(text) = headers.get(header::CONTENT_RANGE) else { return Ok(None) };
        let parsed = text.to_str().ok().and_then(parse_content_range);
        parsed
            .map(Some)
            .ok_or_else(|| StorageError::invalid("Content-Range must be `bytes FIRST-LAST/TOTAL` or `bytes */*`"))
    }

    /// Checks that the range starts after the received bytes, and has a permitted size.
    fn check(&self, received: u64) -> Result<(), StorageError> {
        let Some((first, last)) = self.first_and_last else { return Ok(()) };
        if first != received {
            return Err(StorageError::invalid(format!("the next part begins at byte {received}")));
        }
        if self.total != Some(last + 1) && (last + 1 - first) % PART_SIZE_UNIT != 0 {
            return Err(StorageError::invalid("every part but the last must have a multiple of 262144 bytes"));
        }
        Ok(())
    }
}

fn parse_content_range(text: &str) -> Option<ContentRange> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    if range == "*" {
        return Some(ContentRange { first_and_last: None, total });
    }
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let is_valid = first <= last && last < u64::MAX && total.is_none_or(|total| last < total);
    is_valid.then_some(ContentRange { first_and_last: Some((first, last)), total })
}

/// Returns the response of an incomplete upload, with the received range.
fn incomplete_response(received: u64) -> Response {
    let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
    if let Some(last) = received.checked_sub(1) {
        set_header(response.headers_mut(), header::RANGE, &format!("bytes=0-{last}"));
    }
    response
}
