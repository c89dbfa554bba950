//! The sources of multipart uploads.

use std::ops::Range;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use auth_http::Request;

use super::content::{Content, ContentOutcome};
use super::error::UploadError;
use super::local::{OpenFile, blocking};
use super::progress::Sent;
use crate::RateLimit;

/// Content of a known length that is read in ranges. Clones are cheap.
pub(super) trait PartSource: Clone + Send + Sync + 'static {
    /// Returns the length, in bytes.
    fn bytes(&self) -> u64;

    /// Returns the place, for readers of the journal.
    fn place(&self) -> String;

    /// Returns a text that differs for other content, for the journal. Blocks the calling thread.
    fn identity(&self) -> String;

    /// Fails if the content has changed.
    fn check_unchanged(&self) -> impl Future<Output = Result<(), UploadError>> + Send;

    /// Adds a range to a request. `sent` counts its bytes. The outcome is the checksum of what was read.
    fn add_to(
        &self,
        request: Request,
        range: Range<u64>,
        sent: Arc<Sent>,
        limit: Option<RateLimit>,
    ) -> impl Future<Output = Result<(Request, ContentOutcome), UploadError>> + Send;
}

impl PartSource for OpenFile {
    fn bytes(&self) -> u64 {
        OpenFile::bytes(self)
    }

    fn place(&self) -> String {
        self.local().path().display().to_string()
    }

    fn identity(&self) -> String {
        let path = self.local().path();
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let modified = self.local().stamp().modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        format!("{:?}", (path.to_string_lossy(), self.bytes(), modified.map(|time| time.as_nanos())))
    }

    async fn check_unchanged(&self) -> Result<(), UploadError> {
        let open = self.clone();
        blocking(move || OpenFile::check_unchanged(&open)).await
    }

    async fn add_to(
        &self,
        request: Request,
        range: Range<u64>,
        sent: Arc<Sent>,
        limit: Option<RateLimit>,
    ) -> Result<(Request, ContentOutcome), UploadError> {
        let content = Content::of(self.clone(), range, None, sent)?.with_rate_limit(limit);
        let (length, outcome) = (content.bytes(), content.outcome());
        Ok((request.with_stream(length, content.into_stream()), outcome))
    }
}
