use std::ops::Range;

use auth_http::Request;

use super::{Fail, Job, Open};
use crate::DownloadError;
use crate::answer::Answer;
use crate::retry::Attempts;
use crate::source::Resolved;

impl Job<'_> {
    /// Sends a request until there is an answer that has what was asked for.
    pub(super) async fn request(
        &self,
        range: Option<Range<u64>>,
        etag: Option<&str>,
        attempts: &mut Attempts,
    ) -> Result<Open, Fail> {
        let file = self.target.path();
        let mut refused: Option<(Resolved, u16)> = None;
        loop {
            let resolved = self.link.get(refused.as_ref().map(|(resolved, _)| resolved)).await;
            let resolved = resolved.map_err(|error| DownloadError::resolve(&file, error))?;
            let mut request = Request::get(resolved.url.expose().clone()).with_header("accept-encoding", "identity");
            if let Some(range) = &range {
                request = request.with_header("range", format!("bytes={}-{}", range.start, range.end - 1));
                // Whatever it does with that, every answer is compared too.
                if let Some(etag) = etag.filter(|etag| !etag.starts_with("W/")) {
                    request = request.with_header("if-range", etag);
                }
            }
            let response = match self.downloader.http.send(request).await {
                Ok(response) => response,
                Err(error) if error.is_broken() && !error.is_untrusted() => {
                    self.again(attempts, DownloadError::http(&file, error), None).await?;
                    // A URL may end while it is waited for; only one that is refused as soon as it is made is not renewed.
                    refused = None;
                    continue;
                }
                Err(error) => return Err(DownloadError::http(&file, error).into()),
            };
            let answer = Answer::of(&response, range.as_ref().map(|range| range.start));
            tracing::trace!(?answer, "the storage answered");
            match answer {
                Answer::Refused(status) => match refused.replace((resolved, status)) {
                    None => tracing::debug!(status, "the storage refuses the URL: a new one is asked for"),
                    Some(_) => return Err(DownloadError::refused(&file, status).into()),
                },
                Answer::Unavailable { status, after } => {
                    drop(response);
                    self.again(attempts, DownloadError::answered(&file, status), after).await?;
                    refused = None;
                }
                Answer::Malformed(what) => {
                    drop(response);
                    self.again(attempts, DownloadError::malformed(&file, what), None).await?;
                }
                Answer::Failed(status) => return Err(DownloadError::answered(&file, status).into()),
                answer => return Ok(Open { answer, response }),
            }
        }
    }
}
