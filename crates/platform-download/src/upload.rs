use std::path::Path;
use std::sync::Arc;

use auth_http::{HttpClient, Method, Request, SignedUrl};
use futures_util::TryStreamExt;
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use crate::{Crc32c, UploadError};

/// Files are sent in pieces of this size.
const BLOCK: usize = 256 * 1024;

/// Sends the file at `path` to a signed URL, with the checksum that it had when it was described, so
/// that the storage refuses anything else. `sent` hears of every piece, with its length in bytes.
///
/// # Errors
///
/// [`UploadError::is_changed`], or the file could not be read or was not accepted.
pub async fn upload(
    http: &HttpClient,
    path: &Path,
    crc32c: Crc32c,
    content_type: &str,
    to: SignedUrl,
    sent: Arc<dyn Fn(u64) + Send + Sync>,
) -> Result<(), UploadError> {
    let file = File::open(path).await.map_err(|error| UploadError::read(path, error))?;
    let length = file.metadata().await.map_err(|error| UploadError::read(path, error))?.len();
    let pieces = ReaderStream::with_capacity(file, BLOCK).inspect_ok(move |piece| sent(piece.len() as u64));
    let request = Request::new(Method::Put, to.expose().clone())
        .with_stream(length, pieces)
        .with_header("content-type", content_type)
        .with_header("x-goog-hash", format!("crc32c={crc32c}"));
    let response = http.send(request).await.map_err(|error| UploadError::http(path, error))?;
    match response.status() {
        200 => Ok(()),
        400 if is_bad_digest(response).await => Err(UploadError::changed(path)),
        status => Err(UploadError::status(path, status)),
    }
}

/// Whether the storage refused because of the checksum (`BadDigest`).
async fn is_bad_digest(response: auth_http::Response) -> bool {
    let body = response.bytes(BLOCK).await.unwrap_or_default();
    String::from_utf8_lossy(&body).contains("<Code>BadDigest</Code>")
}
