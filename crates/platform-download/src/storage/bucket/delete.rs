use std::ops::ControlFlow::Break;

use auth_http::Method;
use futures_util::{StreamExt, stream};

use super::{Bucket, BucketError, ErrorResponse};
use crate::retry::Retryable;

/// The number of concurrent deletions.
const CONCURRENT_DELETIONS: usize = 8;

/// The result of deleting an object.
#[derive(Debug)]
#[non_exhaustive]
pub struct Deletion {
    /// The key of the object.
    pub key: String,
    /// The outcome. After an error, the object may still exist.
    pub result: Result<Deleted, BucketError>,
}

/// The outcome of a successful deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deleted {
    /// The object was deleted.
    Deleted,
    /// The object did not exist.
    Absent,
}

impl Bucket {
    /// Deletes objects, and returns the results in the order of the keys. After an error, the other objects are still
    /// deleted. Use [`find`](Self::find) to list the objects first.
    pub async fn delete(&self, keys: impl IntoIterator<Item = impl Into<String>>) -> Vec<Deletion> {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        let deletions = keys.into_iter().map(async |key| {
            let result = self.delete_one(&key).await;
            Deletion { key, result }
        });
        stream::iter(deletions).buffered(CONCURRENT_DELETIONS).collect().await
    }

    async fn delete_one(&self, key: &str) -> Result<Deleted, BucketError> {
        let mut attempts = self.attempts();
        let outcome = loop {
            if let Err(exhausted) = attempts.wait_until_ready().await {
                break Err(BucketError::unavailable(exhausted));
            }
            let outcome = self.request_deletion(key, attempts.is_first()).await;
            if let Break(outcome) = attempts.evaluate(outcome) {
                break outcome;
            }
        };
        outcome.map_err(|error| error.with_summary(format!("{} was not deleted", self.display_address(key))))
    }

    async fn request_deletion(&self, key: &str, is_first: bool) -> Result<Deleted, BucketError> {
        let response = self.request(Method::Delete, Some(key), &[]).await?;
        match response.status() {
            404 if is_first => Ok(Deleted::Absent),
            // 404 after the first attempt: an earlier attempt deleted the object, and its response was lost.
            200 | 204 | 404 => Ok(Deleted::Deleted),
            _ => Err(BucketError::refused(ErrorResponse::read(response).await)),
        }
    }
}
