use std::ops::Range;

use auth_http::Request;

use super::{FetchError, Job, Open};
use crate::error::DownloadError;
use crate::retry::{Attempts, Retryable};
use crate::transfer::response::{TransferResponse, encoding};
use crate::transfer::source::Resolved;

impl Job<'_> {
    /// Sends a request until a response has the requested content.
    pub(super) async fn request(
        &self,
        range: Option<Range<u64>>,
        etag: Option<&str>,
        mut attempts: Attempts,
    ) -> Result<Open, FetchError> {
        let file = self.target.path();
        let mut refused: Option<(Resolved, u16)> = None;
        loop {
            let resolved = self.link.get(refused.as_ref().map(|(resolved, _)| resolved)).await;
            let resolved = resolved.map_err(|error| DownloadError::resolve(&file, error))?;
            attempts = attempts.toward(resolved.url.url.expose());
            attempts.ready().await.map_err(|gave_up| DownloadError::unavailable(gave_up).about(&file))?;
            // The URL may have expired during the wait.
            if !self.link.is_usable(&resolved).await {
                continue;
            }
            let mut request =
                Request::get(resolved.url.url.expose().clone()).with_header("accept-encoding", "identity");
            if let Some(range) = &range {
                request = request.with_header("range", format!("bytes={}-{}", range.start, range.end - 1));
                // Each response is compared as well, even if the server ignores this header.
                if let Some(etag) = etag.filter(|etag| !etag.starts_with("W/")) {
                    request = request.with_header("if-range", etag);
                }
            }
            let response = match self.downloader.http.send(request).await {
                Ok(response) => response,
                Err(error) => {
                    attempts.failed(DownloadError::http(&file, error))?;
                    // A URL may expire during a wait. Only a URL that is rejected immediately is not replaced again.
                    refused = None;
                    continue;
                }
            };
            let answer = TransferResponse::of(&response, range.as_ref().map(|range| range.start));
            tracing::trace!(?answer, "the storage responded");
            if matches!(answer, TransferResponse::Refused(_) | TransferResponse::Failed(_)) {
                attempts.answered();
            }
            match answer {
                TransferResponse::Refused(status) => match refused.replace((resolved, status)) {
                    None => tracing::debug!(status, "the storage refused the URL; requesting a new one"),
                    Some(_) => return Err(DownloadError::refused(&file, status).into()),
                },
                TransferResponse::Unavailable { status, after } => {
                    drop(response);
                    attempts.failed(DownloadError::answered(&file, status, after))?;
                    refused = None;
                }
                TransferResponse::Malformed(what) => {
                    drop(response);
                    attempts.failed(DownloadError::malformed(&file, what))?;
                }
                TransferResponse::Failed(status) => return Err(DownloadError::answered(&file, status, None).into()),
                // Without a stated checksum, compressed content would not be detected.
                TransferResponse::PartialFile { .. } | TransferResponse::Whole { .. }
                    if self.expected.crc32c().is_none() =>
                {
                    if let Some(encoding) = encoding(&response) {
                        return Err(DownloadError::encoded(&file, encoding).into());
                    }
                    return Ok(Open { answer, response, attempts });
                }
                answer => return Ok(Open { answer, response, attempts }),
            }
        }
    }
}
