use std::ops::Range;

use auth_http::Request;

use super::{FetchError, Job, OpenResponse};
use crate::error::DownloadError;
use crate::retry::{Attempts, Retryable};
use crate::transfer::response::{TransferResponse, encoding};
use crate::transfer::source::NumberedUrl;

impl Job<'_> {
    /// Requests a range, or the whole file if `range` is `None`, until a response has the requested content. `etag` is
    /// the entity tag of the existing parts.
    pub(super) async fn request(
        &self,
        range: Option<Range<u64>>,
        etag: Option<&str>,
        mut attempts: Attempts,
    ) -> Result<OpenResponse, FetchError> {
        let file = self.target.path();
        let mut refused: Option<(NumberedUrl, u16)> = None;
        loop {
            let numbered_url = self.shared_url.get(refused.as_ref().map(|(numbered_url, _)| numbered_url)).await;
            let numbered_url = numbered_url.map_err(|error| DownloadError::resolve(&file, error))?;
            attempts = attempts.with_host_of(numbered_url.url.url.expose());
            attempts
                .wait_until_ready()
                .await
                .map_err(|exhausted| DownloadError::unavailable(exhausted).with_file(&file))?;
            // The URL may have expired while this request waited.
            if !self.shared_url.is_usable(&numbered_url).await {
                continue;
            }
            let request = range_request(&numbered_url, range.as_ref(), etag);
            let response = match self.downloader.http.send(request).await {
                Ok(response) => response,
                Err(error) => {
                    attempts.record_failure(DownloadError::http(&file, error))?;
                    // The URL may expire before the retry, so it may be replaced once more.
                    refused = None;
                    continue;
                }
            };
            let interpretation = TransferResponse::of(&response, range.as_ref().map(|range| range.start));
            tracing::trace!(?interpretation, "the storage responded");
            if matches!(interpretation, TransferResponse::Refused(_) | TransferResponse::Failed(_)) {
                attempts.record_response();
            }
            match interpretation {
                TransferResponse::Refused(status) => match refused.replace((numbered_url, status)) {
                    None => tracing::debug!(status, "the storage refused the URL; requesting a new one"),
                    Some(_) => return Err(DownloadError::refused(&file, status).into()),
                },
                TransferResponse::Unavailable { status, retry_after } => {
                    drop(response);
                    attempts.record_failure(DownloadError::from_status(&file, status, retry_after))?;
                    refused = None;
                }
                TransferResponse::Malformed(reason) => {
                    drop(response);
                    attempts.record_failure(DownloadError::malformed(&file, reason))?;
                }
                TransferResponse::Failed(status) => return Err(DownloadError::from_status(&file, status, None).into()),
                // Without an expected checksum, compressed content would not be detected.
                TransferResponse::Partial { .. } | TransferResponse::Whole { .. }
                    if self.expected.crc32c().is_none() =>
                {
                    if let Some(encoding) = encoding(&response) {
                        return Err(DownloadError::encoded(&file, encoding).into());
                    }
                    return Ok(OpenResponse { interpretation, response, attempts });
                }
                interpretation => return Ok(OpenResponse { interpretation, response, attempts }),
            }
        }
    }
}

fn range_request(numbered_url: &NumberedUrl, range: Option<&Range<u64>>, etag: Option<&str>) -> Request {
    let request = Request::get(numbered_url.url.url.expose().clone()).with_header("accept-encoding", "identity");
    let Some(range) = range else { return request };
    let request = request.with_header("range", format!("bytes={}-{}", range.start, range.end - 1));
    // A server may ignore this header, so the validators of each response are compared, too.
    match etag.filter(|etag| !etag.starts_with("W/")) {
        Some(etag) => request.with_header("if-range", etag),
        None => request,
    }
}
