//! The sources of multipart uploads.

use std::ops::Range;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use auth_http::Request;

use super::content::{Content, ContentOutcome};
use super::error::UploadError;
use super::local::{OpenFile, blocking};
use super::progress::SentBytes;
use crate::RateLimit;

/// Content of a known length that is read in ranges. Clones are cheap.
pub(super) trait PartSource: Clone + Send + Sync + 'static {
    /// Returns the length, in bytes.
    fn bytes(&self) -> u64;

    /// Returns the path or the address of the source, for human readers of the journal.
    fn location(&self) -> String;

    /// Returns a text that identifies the content, for the journal. Blocks the calling thread.
    fn identity(&self) -> String;

    /// Fails if the content has changed.
    fn check_unchanged(&self) -> impl Future<Output = Result<(), UploadError>> + Send;

    /// Adds a range to a request as its body. `sent` counts its bytes. The outcome receives the checksum of the range.
    fn add_to(
        &self,
        request: Request,
        range: Range<u64>,
        sent: Arc<SentBytes>,
        limit: Option<RateLimit>,
    ) -> impl Future<Output = Result<(Request, ContentOutcome), UploadError>> + Send;
}

impl PartSource for OpenFile {
    fn bytes(&self) -> u64 {
        OpenFile::bytes(self)
    }

    fn location(&self) -> String {
        self.local().path().display().to_string()
    }

    fn identity(&self) -> String {
        let path = self.local().path();
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let modified = self.local().stamp().modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        format!("{:?}", (path.to_string_lossy(), self.bytes(), modified.map(|time| time.as_nanos())))
    }

    async fn check_unchanged(&self) -> Result<(), UploadError> {
        let open_file = self.clone();
        blocking(move || OpenFile::check_unchanged(&open_file)).await
    }

    async fn add_to(
        &self,
        request: Request,
        range: Range<u64>,
        sent: Arc<SentBytes>,
        limit: Option<RateLimit>,
    ) -> Result<(Request, ContentOutcome), UploadError> {
        let content = Content::new(self.clone(), range, None, sent)?.with_rate_limit(limit);
        let (length, outcome) = (content.bytes(), content.outcome());
        Ok((request.with_stream(length, content.into_stream()), outcome))
    }
}
