//! Listing of objects (`ListObjectsV2`).

use std::time::SystemTime;

use auth_http::Method;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt, future};
use globset::GlobBuilder;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::xml::{Document, Object, decode};
use super::{Bucket, BucketError};

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ObjectEntry {
    /// The key of the object.
    pub key: String,
    /// The size in bytes.
    pub bytes: u64,
    /// The time of the last modification, if the storage reports it.
    #[serde(serialize_with = "rfc3339")]
    pub modified_at: Option<SystemTime>,
}

/// Serializes a time (RFC 3339).
#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
pub(super) fn rfc3339<S: Serializer>(at: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    let at = at.and_then(|at| Timestamp::try_from(at).ok());
    at.map(|at| at.to_string()).serialize(serializer)
}

/// The reason why a listing is malformed.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error("the storage repeats the same continuation token")]
    RepeatedToken,
    #[error("the listing is truncated, but has no continuation token")]
    MissingToken,
    #[error("an object has no size")]
    MissingSize,
    #[error("the response is not a listing")]
    UnexpectedDocument,
}

/// A listing in progress.
struct Listing {
    bucket: Bucket,
    prefix: String,
    /// The continuation token of the next page; `None` for the first.
    token: Option<String>,
    is_at_end: bool,
}

impl Bucket {
    /// Lists the objects with this key prefix, in key order. An empty prefix lists all objects. Pages are fetched as
    /// the stream is read. The stream ends after its first error.
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectEntry, BucketError>> {
        let listing = Listing { bucket: self.clone(), prefix: prefix.to_owned(), token: None, is_at_end: false };
        stream::try_unfold(listing, async |mut listing: Listing| {
            if listing.is_at_end {
                return Ok(None);
            }
            let entries = listing.next_page().await?;
            Ok(Some((stream::iter(entries.into_iter().map(Ok)), listing)))
        })
        .try_flatten()
        .boxed()
    }

    /// Lists the objects whose key matches a glob pattern, such as `slides/*.svs` or `run-1/**/*.{csv,json}`. `*` and
    /// `?` do not match `/`, `**` does; `\` escapes the next character.
    ///
    /// # Errors
    ///
    /// [`BucketError::is_pattern`]: the pattern is not valid.
    pub fn find(&self, pattern: &str) -> Result<BoxStream<'static, Result<ObjectEntry, BucketError>>, BucketError> {
        let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
        let matcher = glob.map_err(BucketError::pattern)?.compile_matcher();
        // Only the literal prefix before the first wildcard can limit the listing.
        let prefix = pattern.split(['*', '?', '[', '{', '\\']).next().unwrap_or_default();
        Ok(self.list(prefix).try_filter(move |entry| future::ready(matcher.is_match(&entry.key))).boxed())
    }
}

impl Listing {
    async fn next_page(&mut self) -> Result<Vec<ObjectEntry>, BucketError> {
        // The parameters must be sorted by name, because the URL is signed.
        let mut query = vec![("encoding-type", "url"), ("list-type", "2"), ("prefix", self.prefix.as_str())];
        if let Some(token) = &self.token {
            query.insert(0, ("continuation-token", token));
        }
        let response =
            self.bucket.request_document(|| self.bucket.signed_request(Method::Get, None, &query, &[])).await;
        let (bucket, prefix) = (&self.bucket, &self.prefix);
        let with_summary =
            |error: BucketError| error.with_summary(format!("{}* was not listed", bucket.display_address(prefix)));
        let (Document::ListBucketResult(page), _) = response.map_err(with_summary)? else {
            return Err(with_summary(BucketError::malformed(Malformed::UnexpectedDocument)));
        };
        let next = page.next_continuation_token;
        if next.is_none() && page.is_truncated {
            return Err(with_summary(BucketError::malformed(Malformed::MissingToken)));
        }
        if next.is_some() && next == self.token {
            return Err(with_summary(BucketError::malformed(Malformed::RepeatedToken)));
        }
        (self.is_at_end, self.token) = (next.is_none(), next);
        page.contents
            .iter()
            .map(|object| object_entry(object, page.encoding_type.as_deref()).map_err(with_summary))
            .collect()
    }
}

fn object_entry(object: &Object, encoding: Option<&str>) -> Result<ObjectEntry, BucketError> {
    let key = decode(&object.key, encoding).map_err(BucketError::malformed)?;
    let bytes = object.size.ok_or_else(|| BucketError::malformed(Malformed::MissingSize))?;
    let modified_at = object.last_modified.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
    Ok(ObjectEntry { key, bytes, modified_at: modified_at.map(Into::into) })
}
