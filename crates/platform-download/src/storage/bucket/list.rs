//! Listing objects (`ListObjectsV2`).

use auth_http::Method;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt, future};
use globset::GlobBuilder;
use jiff::Timestamp;

use super::xml::{Document, Object, decode};
use super::{Bucket, BucketError};

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
        // Sorted by name, as required for signing.
        let mut query = vec![("encoding-type", "url"), ("list-type", "2"), ("prefix", self.prefix.as_str())];
        if let Some(token) = &self.token {
            query.insert(0, ("continuation-token", token));
        }
        let answer = self.bucket.ask(|| self.bucket.signed(Method::Get, None, &query, &[])).await;
        let (bucket, prefix) = (&self.bucket, &self.prefix);
        let what = |error: BucketError| error.about(format!("{}* was not listed", bucket.shown(prefix)));
        let (Document::ListBucketResult(page), _) = answer.map_err(what)? else {
            return Err(what(BucketError::document(Malformed::Other)));
        };
        let next = page.next_continuation_token;
        if next.is_none() && page.is_truncated {
            return Err(what(BucketError::document(Malformed::Cut)));
        }
        if next.is_some() && next == self.token {
            return Err(what(BucketError::document(Malformed::Circle)));
        }
        (self.is_over, self.token) = (next.is_none(), next);
        page.contents.iter().map(|found| entry(found, page.encoding_type.as_deref()).map_err(what)).collect()
    }
}

fn entry(found: &Object, encoding: Option<&str>) -> Result<ObjectEntry, BucketError> {
    let key = decode(&found.key, encoding).map_err(BucketError::document)?;
    let bytes = found.size.ok_or_else(|| BucketError::document(Malformed::Size))?;
    let modified_at = found.last_modified.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
    Ok(ObjectEntry { key, bytes, modified_at: modified_at.map(Into::into) })
}
