use std::ops::Range;

use auth_http::Request;

use super::{FetchError, Job, OpenResponse};
use crate::error::DownloadError;
use crate::retry::{Attempts, Retryable};
use crate::transfer::response::{TransferResponse, encoding};
use crate::transfer::source::Resolved;

impl Job<'_> {
    /// Requests a range, or the whole file with `None`, until a response has the requested content. `etag` is the
    /// entity tag of the existing parts.
    pub(super) async fn request(
        &self,
        range: Option<Range<u64>>,
        etag: Option<&str>,
        mut attempts: Attempts,
    ) -> Result<OpenResponse, FetchError> {
        let file = self.target.path();
        let mut refused: Option<(Resolved, u16)> = None;
        loop {
            let resolved = self.shared_url.get(refused.as_ref().map(|(resolved, _)| resolved)).await;
            let resolved = resolved.map_err(|error| DownloadError::resolve(&file, error))?;
            attempts = attempts.with_host_of(resolved.url.url.expose());
            attempts.ready().await.map_err(|exhausted| DownloadError::unavailable(exhausted).about(&file))?;
            // The URL may have expired while this request waited.
            if !self.shared_url.is_usable(&resolved).await {
                continue;
            }
            let mut request =
                Request::get(resolved.url.url.expose().clone()).with_header("accept-encoding", "identity");
            if let Some(range) = &range {
                request = request.with_header("range", format!("bytes={}-{}", range.start, range.end - 1));
                // The validators of each response are compared, too, because a server may ignore this header.
                if let Some(etag) = etag.filter(|etag| !etag.starts_with("W/")) {
                    request = request.with_header("if-range", etag);
                }
            }
            let response = match self.downloader.http.send(request).await {
                Ok(response) => response,
                Err(error) => {
                    attempts.failed(DownloadError::http(&file, error))?;
                    // A failure in between resets this: the URL may have expired in the meantime, and is replaced
                    // again.
                    refused = None;
                    continue;
                }
            };
            let interpreted = TransferResponse::of(&response, range.as_ref().map(|range| range.start));
            tracing::trace!(?interpreted, "the storage responded");
            if matches!(interpreted, TransferResponse::Refused(_) | TransferResponse::Failed(_)) {
                attempts.answered();
            }
            match interpreted {
                TransferResponse::Refused(status) => match refused.replace((resolved, status)) {
                    None => tracing::debug!(status, "the storage refused the URL; requesting a new one"),
                    Some(_) => return Err(DownloadError::refused(&file, status).into()),
                },
                TransferResponse::Unavailable { status, after } => {
                    drop(response);
                    attempts.failed(DownloadError::from_status(&file, status, after))?;
                    refused = None;
                }
                TransferResponse::Malformed(what) => {
                    drop(response);
                    attempts.failed(DownloadError::malformed(&file, what))?;
                }
                TransferResponse::Failed(status) => return Err(DownloadError::from_status(&file, status, None).into()),
                // Without an expected checksum, compressed content would not be detected.
                TransferResponse::Partial { .. } | TransferResponse::Whole { .. }
                    if self.expected.crc32c().is_none() =>
                {
                    if let Some(encoding) = encoding(&response) {
                        return Err(DownloadError::encoded(&file, encoding).into());
                    }
                    return Ok(OpenResponse { interpreted, response, attempts });
                }
                interpreted => return Ok(OpenResponse { interpreted, response, attempts }),
            }
        }
    }
}
