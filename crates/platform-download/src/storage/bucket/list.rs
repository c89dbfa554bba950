//! Listing objects (`ListObjectsV2`).

use std::ops::ControlFlow::Break;

use auth_http::Method;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt, future};
use globset::GlobBuilder;
use jiff::Timestamp;

use super::xml::{Document, Object, Objects, decode};
use super::{Bucket, BucketError, ErrorResponse};
use crate::retry::Retryable;

/// The maximum size of a page, in bytes: 1000 keys of 1024 bytes, which the URL encoding may triple, with their
/// properties.
const PAGE_LIMIT: usize = 8 * 1024 * 1024;

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectEntry {
    /// The key in the bucket.
    pub key: String,
    /// The size in bytes.
    pub bytes: u64,
    /// The time of the last modification, if the storage states it.
    pub modified_at: Option<std::time::SystemTime>,
}

/// An error of a malformed listing.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error("the storage repeats the same continuation token")]
    Circle,
    #[error("the storage states that there are more objects, without a continuation token")]
    Cut,
    #[error("an object has no size")]
    Size,
    #[error("it is not a listing")]
    Other,
}

/// A listing in progress.
struct Listing {
    bucket: Bucket,
    prefix: String,
    /// The continuation token of the next page; `None` for the first.
    token: Option<String>,
    is_over: bool,
}

impl Bucket {
    /// Lists the objects with this key prefix, in key order. An empty prefix lists all objects. Pages are fetched while
    /// the stream is read; it ends after its first error.
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectEntry, BucketError>> {
        let listing = Listing { bucket: self.clone(), prefix: prefix.to_owned(), token: None, is_over: false };
        stream::try_unfold(listing, async |mut listing: Listing| {
            if listing.is_over {
                return Ok(None);
            }
            let entries = listing.next_page().await?;
            Ok(Some((stream::iter(entries.into_iter().map(Ok)), listing)))
        })
        .try_flatten()
        .boxed()
    }

    /// Finds objects by a glob pattern: `slides/*.svs`, `run-1/**/*.{csv,json}`. `*` and `?` match within a segment,
    /// `**` across segments; `\` escapes the next character.
    ///
    /// # Errors
    ///
    /// [`BucketError::is_pattern`]: the pattern is not valid.
    pub fn find(&self, pattern: &str) -> Result<BoxStream<'static, Result<ObjectEntry, BucketError>>, BucketError> {
        let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
        let matcher = glob.map_err(BucketError::pattern)?.compile_matcher();
        // The literal prefix before the first wildcard.
        let prefix = pattern.split(['*', '?', '[', '{', '\\']).next().unwrap_or_default();
        Ok(self.list(prefix).try_filter(move |entry| future::ready(matcher.is_match(&entry.key))).boxed())
    }
}

impl Listing {
    /// Returns the objects of the next page.
    async fn next_page(&mut self) -> Result<Vec<ObjectEntry>, BucketError> {
        let mut attempts = self.bucket.attempts();
        let page = loop {
            if let Err(gave_up) = attempts.ready().await {
                break Err(BucketError::unavailable(gave_up));
            }
            if let Break(outcome) = attempts.judge(self.ask().await) {
                break outcome;
            }
        };
        let (bucket, prefix) = (&self.bucket, &self.prefix);
        let what = |error: BucketError| error.about(format!("{}* was not listed", bucket.shown(prefix)));
        let page = page.map_err(what)?;
        let next = page.next_continuation_token;
        if next.is_none() && page.is_truncated {
            return Err(what(BucketError::listing(Malformed::Cut)));
        }
        if next.is_some() && next == self.token {
            return Err(what(BucketError::listing(Malformed::Circle)));
        }
        (self.is_over, self.token) = (next.is_none(), next);
        page.contents.iter().map(|found| entry(found, page.encoding_type.as_deref()).map_err(what)).collect()
    }

    async fn ask(&self) -> Result<Objects, BucketError> {
        // Sorted by name, as required for signing.
        let mut query = vec![("encoding-type", "url"), ("list-type", "2"), ("prefix", self.prefix.as_str())];
        if let Some(token) = &self.token {
            query.insert(0, ("continuation-token", token));
        }
        let response = self.bucket.request(Method::Get, None, &query).await?;
        if response.status() != 200 {
            return Err(BucketError::refused(ErrorResponse::read(response).await));
        }
        let body = response.bytes(PAGE_LIMIT).await.map_err(BucketError::http)?;
        match Document::read(&body).map_err(BucketError::listing)? {
            Document::ListBucketResult(page) => Ok(page),
            _ => Err(BucketError::listing(Malformed::Other)),
        }
    }
}

fn entry(found: &Object, encoding: Option<&str>) -> Result<ObjectEntry, BucketError> {
    let key = decode(&found.key, encoding).map_err(BucketError::listing)?;
    let bytes = found.size.ok_or_else(|| BucketError::listing(Malformed::Size))?;
    let modified_at = found.last_modified.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
    Ok(ObjectEntry { key, bytes, modified_at: modified_at.map(Into::into) })
}
