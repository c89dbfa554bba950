//! The bytes of a file, or of a part of it, as they are sent.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, stream};

use super::error::Kind;
use super::local::{BLOCK, OpenFile, blocking};
use super::progress::Sent;
use crate::{Crc32c, RateLimit, UploadError};

/// A range of a file to send once. The last block is sent only if the file is unchanged, so that changed content is
/// never complete.
pub(super) struct Content {
    file: OpenFile,
    range: Range<u64>,
    /// The required checksum of the range, if known.
    expected: Option<Crc32c>,
    crc32c: Crc32c,
    sent: Arc<Sent>,
    outcome: Outcome,
    limit: Option<RateLimit>,
}

/// The checksum of the content after it was sent, or the local error that ended it.
#[derive(Clone, Default)]
pub(super) struct Outcome(Arc<Mutex<Option<Result<Crc32c, UploadError>>>>);

impl Outcome {
    pub(super) fn take(&self) -> Option<Result<Crc32c, UploadError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, outcome: Result<Crc32c, UploadError>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }
}

impl Content {
    /// Returns the content of a range, which is counted in `sent`.
    ///
    /// # Errors
    ///
    /// The range is empty, and the required checksum is that of other content.
    pub(super) fn of(
        file: OpenFile,
        range: Range<u64>,
        expected: Option<Crc32c>,
        sent: Arc<Sent>,
    ) -> Result<Self, UploadError> {
        let (crc32c, outcome) = (Crc32c::default(), Outcome::default());
        // Without a block, the checksum would not be compared.
        if range.is_empty() {
            if expected.is_some_and(|expected| expected != crc32c) {
                return Err(Kind::Changed.into());
            }
            outcome.set(Ok(crc32c));
        }
        Ok(Self { file, range, expected, crc32c, sent, outcome, limit: None })
    }

    /// Sets a limit for the rate.
    pub(super) fn with_rate_limit(mut self, limit: Option<RateLimit>) -> Self {
        self.limit = limit;
        self
    }

    /// Returns the length of the range.
    pub(super) fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    pub(super) fn outcome(&self) -> Outcome {
        self.outcome.clone()
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::try_unfold(self, async |content| {
            if content.range.is_empty() {
                return Ok(None);
            }
            let outcome = content.outcome();
            // The client gets a generic error; the cause is stored.
            let stopped = |error| {
                outcome.set(Err(error));
                io::Error::other("the file cannot be sent")
            };
            let (block, content) = blocking(move || content.next()).await.map_err(stopped)?;
            if let Some(limit) = &content.limit {
                limit.wait(block.len() as u64).await;
            }
            Ok(Some((block, content)))
        })
    }

    /// Returns the next block. Blocks the thread.
    fn next(mut self) -> Result<(Bytes, Self), UploadError> {
        // A silent connection is given up, so that a limited one sends small blocks.
        let most = self.limit.as_ref().map_or(u64::MAX, RateLimit::step);
        let length = usize::try_from(self.bytes().min(most)).unwrap_or(usize::MAX).min(BLOCK);
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
