//! Receives the body of a response, and writes it to the partial file.

use bytes::Bytes;

use super::{FetchError, Job, OpenResponse};
use crate::error::DownloadError;
use crate::retry::{Attempts, StallDetector, Stalled};
use crate::transfer::progress::Progress;
use crate::transfer::writer::Writer;

/// The reason why a response body ended early.
pub(super) enum StreamError {
    /// The failure is transient: the request can be sent again.
    Transient(DownloadError),
    Final(FetchError),
}

impl Job<'_> {
    /// Writes a response body up to the offset `end` of the file. Content that was received before a failure is
    /// written, too.
    pub(super) async fn receive(
        &self,
        open: &mut OpenResponse,
        writer: &mut Writer,
        end: Option<u64>,
    ) -> Result<(), StreamError> {
        let OpenResponse { response, attempts, .. } = open;
        let mut has_content = false;
        let file = self.target.path();
        let io_error = |error| StreamError::Final(DownloadError::io(&file, error).into());
        let mut stall = StallDetector::new(self.downloader.options.rate);
        let (mut block, mut length) = (Vec::new(), 0);
        let outcome = loop {
            let offset = writer.offset() + length;
            if end.is_some_and(|end| offset >= end) {
                break Ok(());
            }
            let outcome = stall
                .watch(response.chunk(), |outcome| outcome.as_ref().map_or(0, |chunk| chunk_size(chunk.as_ref())))
                .await;
            let mut chunk = match outcome {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) if end.is_none() => break Ok(()),
                Ok(Ok(None)) => break Err(DownloadError::malformed(&file, "it ends early")),
                Ok(Err(error)) => break Err(DownloadError::http(&file, error)),
                Err(Stalled) => break Err(DownloadError::stalled(&file)),
            };
            // Bytes beyond the expected length are never written.
            let end_offset = offset + chunk.len() as u64;
            if let Some(expected) = self.expected.bytes().filter(|expected| end.is_none() && *expected < end_offset) {
                return Err(StreamError::Final(FetchError::Corrupt(DownloadError::size(&file, expected, end_offset))));
            }
            if let Some(remaining) = end.map(|end| end - offset) {
                chunk.truncate(usize::try_from(remaining).unwrap_or(usize::MAX));
            }
            if !std::mem::replace(&mut has_content, true) {
                attempts.record_response();
            }
            (self.observer)(Progress::Received(chunk.len() as u64));
            if let Some(limit) = &self.downloader.options.rate_limit {
                limit.wait(chunk.len() as u64).await;
            }
            length += chunk.len() as u64;
            block.push(chunk);
            if length >= self.downloader.options.block {
                writer.write(std::mem::take(&mut block)).await.map_err(io_error)?;
                length = 0;
            }
        };
        if !block.is_empty() {
            writer.write(block).await.map_err(io_error)?;
        }
        if outcome.is_ok() {
            attempts.record_response();
        }
        outcome.map_err(StreamError::Transient)
    }
}

/// Records the outcome of an attempt. Returns an error if the request is not retried.
pub(super) fn check_retry(outcome: Result<(), StreamError>, attempts: &mut Attempts) -> Result<(), FetchError> {
    match outcome {
        Ok(()) => Ok(()),
        Err(StreamError::Transient(error)) => Ok(attempts.record_failure(error)?),
        Err(StreamError::Final(error)) => Err(error),
    }
}

fn chunk_size(chunk: Option<&Bytes>) -> u64 {
    chunk.map_or(0, |chunk| chunk.len() as u64)
}
