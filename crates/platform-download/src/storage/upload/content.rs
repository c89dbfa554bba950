//! The body of an upload request: a range of a file.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, stream};

use super::error::Kind;
use super::local::{OpenFile, READ_BUFFER_BYTES, blocking};
use super::progress::SentBytes;
use crate::{Crc32c, RateLimit, UploadError};

/// A range of a file that is sent once. The last block is sent only if the file is unchanged, so that the storage never
/// receives all of a changed file.
pub(super) struct Content {
    file: OpenFile,
    range: Range<u64>,
    /// The checksum that the range must have, if it is known.
    expected: Option<Crc32c>,
    crc32c: Crc32c,
    sent: Arc<SentBytes>,
    outcome: ContentOutcome,
    limit: Option<RateLimit>,
}

/// The checksum of the content after all of it was read, or the local error that ended the reading.
#[derive(Clone, Default)]
pub(super) struct ContentOutcome(Arc<Mutex<Option<Result<Crc32c, UploadError>>>>);

impl ContentOutcome {
    pub(super) fn take(&self) -> Option<Result<Crc32c, UploadError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn set(&self, outcome: Result<Crc32c, UploadError>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }
}

impl Content {
    /// Creates the content of a range. `sent` counts its bytes.
    ///
    /// # Errors
    ///
    /// The range is empty, and `expected` is not the checksum of empty content.
    pub(super) fn new(
        file: OpenFile,
        range: Range<u64>,
        expected: Option<Crc32c>,
        sent: Arc<SentBytes>,
    ) -> Result<Self, UploadError> {
        let (crc32c, outcome) = (Crc32c::default(), ContentOutcome::default());
        // The checksum is normally compared after the last block, which an empty range does not have.
        if range.is_empty() {
            if expected.is_some_and(|expected| expected != crc32c) {
                return Err(Kind::Changed.into());
            }
            outcome.set(Ok(crc32c));
        }
        Ok(Self { file, range, expected, crc32c, sent, outcome, limit: None })
    }

    pub(super) fn with_rate_limit(mut self, limit: Option<RateLimit>) -> Self {
        self.limit = limit;
        self
    }

    /// Returns the length of the range.
    pub(super) fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    pub(super) fn outcome(&self) -> ContentOutcome {
        self.outcome.clone()
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::try_unfold(self, async |content| {
            if content.range.is_empty() {
                return Ok(None);
            }
            let outcome = content.outcome();
            // The HTTP client receives a generic error. The caller finds the cause in the outcome.
            let record_error = |error| {
                outcome.set(Err(error));
                io::Error::other("the file cannot be sent")
            };
            let (block, content) = blocking(move || content.next()).await.map_err(record_error)?;
            if let Some(limit) = &content.limit {
                limit.wait(block.len() as u64).await;
            }
            Ok(Some((block, content)))
        })
    }

    /// Returns the next block. Blocks the calling thread.
    fn next(mut self) -> Result<(Bytes, Self), UploadError> {
        // With a rate limit, blocks are small. Otherwise the pauses between them could exceed the read timeout.
        let max_chunk = self.limit.as_ref().map_or(u64::MAX, RateLimit::max_chunk);
        let length = usize::try_from(self.bytes().min(max_chunk)).unwrap_or(usize::MAX).min(READ_BUFFER_BYTES);
        let mut block = vec![0; length];
        self.file.read(&mut block, self.range.start)?;
        self.crc32c = self.crc32c.append(&block);
        self.range.start += length as u64;
        if self.range.is_empty() {
            self.file.check_unchanged()?;
            if self.expected.is_some_and(|expected| expected != self.crc32c) {
                return Err(Kind::Changed.into());
            }
            self.outcome.set(Ok(self.crc32c));
        }
        self.sent.add(length as u64);
        Ok((block.into(), self))
    }
}
