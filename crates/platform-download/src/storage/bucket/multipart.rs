//! Multipart uploads: start, complete, abort and list. [`Uploader`](crate::Uploader) sends the parts.

use std::ops::ControlFlow::Break;
use std::time::SystemTime;

use auth_http::{Method, Request};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::xml::{Document, UploadPage, decode};
use super::{Bucket, BucketError, ErrorResponse, ObjectHeaders};
use crate::retry::Retryable;

/// A multipart upload that was neither completed nor aborted. The storage charges for its parts.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct UnfinishedUpload {
    /// The key of the object.
    pub key: String,
    /// The id of the upload.
    pub upload_id: String,
    /// The time at which the upload was started, if the storage reports it.
    #[serde(serialize_with = "super::list::rfc3339")]
    pub started_at: Option<SystemTime>,
}

#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error("the response is not the expected document")]
    UnexpectedDocument,
    #[error("the storage repeats the same page markers")]
    RepeatedToken,
}

/// The key and the upload id after which the next page starts.
type Marker = (String, String);

impl Bucket {
    /// Lists the multipart uploads with this key prefix that were neither completed nor aborted, in key order. Pages
    /// are fetched as the stream is read. The stream ends after its first error.
    pub fn unfinished_uploads(&self, prefix: &str) -> BoxStream<'static, Result<UnfinishedUpload, BucketError>> {
        let (bucket, prefix) = (self.clone(), prefix.to_owned());
        stream::try_unfold(Some(None), move |state: Option<Option<Marker>>| {
            let (bucket, prefix) = (bucket.clone(), prefix.clone());
            async move {
                let Some(marker) = state else { return Ok(None) };
                let outcome = bucket.uploads_after(&prefix, marker.as_ref()).await;
                let with_summary = |error: BucketError| {
                    error.with_summary(format!("{}* was not listed", bucket.display_address(&prefix)))
                };
                let (uploads, next) = outcome.map_err(with_summary)?;
                Ok(Some((stream::iter(uploads.into_iter().map(Ok)), next.map(Some))))
            }
        })
        .try_flatten()
        .boxed()
    }

    /// Aborts a multipart upload, and deletes its parts. Succeeds if the upload does not exist.
    ///
    /// # Errors
    ///
    /// The storage rejects the signature ([`BucketError::is_denied`]), is unavailable ([`BucketError::is_transient`]),
    /// or refuses the request for another reason.
    pub async fn abort_upload(&self, key: &str, upload_id: &str) -> Result<(), BucketError> {
        let outcome = self
            .send_deletion(|| self.signed_request(Method::Delete, Some(key), &[("uploadId", upload_id)], &[]))
            .await;
        outcome
            .map_err(|error| error.with_summary(format!("the upload to {} was not aborted", self.display_address(key))))
    }

    /// Starts a multipart upload, and returns its id. If the request is retried, an unused upload may remain.
    pub(crate) async fn start_upload(&self, key: &str, content_type: &str) -> Result<String, BucketError> {
        let request = || {
            let request = self.signed_request(Method::Post, Some(key), &[("uploads", "")], &[])?;
            Ok(request.with_body(content_type, Vec::new()))
        };
        let id = self.request_document(request).await.and_then(|(document, _)| match document {
            Document::InitiateMultipartUploadResult(upload) => Ok(upload.upload_id),
            _ => Err(BucketError::malformed(Malformed::UnexpectedDocument)),
        });
        id.map_err(|error| error.with_summary(format!("the upload to {} was not started", self.display_address(key))))
    }

    /// Completes a multipart upload: the storage joins `parts`, which are pairs of a number and an `ETag`, to an
    /// object. This may take minutes.
    pub(crate) async fn complete_upload(
        &self,
        key: &str,
        upload_id: &str,
        parts: &[(u32, String)],
    ) -> Result<ObjectHeaders, BucketError> {
        let part_xml = |(number, etag): &(u32, String)| {
            let etag = quick_xml::escape::escape(etag.as_str());
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        };
        let list: String = parts.iter().map(part_xml).collect();
        let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        let request = || {
            let request = self.signed_request(Method::Post, Some(key), &[("uploadId", upload_id)], &[])?;
            Ok(request.with_body("application/xml", list.clone()))
        };
        let outcome = self.request_document(request).await.and_then(|(document, headers)| match document {
            Document::CompleteMultipartUploadResult {} => Ok(headers),
            _ => Err(BucketError::malformed(Malformed::UnexpectedDocument)),
        });
        outcome.map_err(|error| {
            error.with_summary(format!("the upload to {} was not completed", self.display_address(key)))
        })
    }

    /// Deletes an object if it still has this generation.
    pub(crate) async fn delete_generation(&self, key: &str, generation: &str) -> Result<(), BucketError> {
        let (name, value) = ("x-goog-if-generation-match", generation);
        let request =
            || Ok(self.signed_request(Method::Delete, Some(key), &[], &[(name, value)])?.with_header(name, value));
        let outcome = self.send_deletion(request).await;
        outcome.map_err(|error| error.with_summary(format!("{} was not deleted", self.display_address(key))))
    }

    /// Sends a DELETE request, with retries. Succeeds if nothing exists to be deleted.
    async fn send_deletion(&self, request: impl Fn() -> Result<Request, BucketError>) -> Result<(), BucketError> {
        let mut attempts = self.attempts();
        loop {
            attempts.wait_until_ready().await.map_err(BucketError::unavailable)?;
            let response = self.http().send(request()?).await.map_err(BucketError::http);
            let outcome = match response {
                Ok(response) if matches!(response.status(), 200 | 204 | 404) => Ok(()),
                Ok(response) => Err(BucketError::refused(ErrorResponse::read(response).await)),
                Err(error) => Err(error),
            };
            if let Break(outcome) = attempts.evaluate(outcome) {
                return outcome;
            }
        }
    }

    /// Returns a page of unfinished uploads, and the marker of the next page.
    async fn uploads_after(
        &self,
        prefix: &str,
        marker: Option<&Marker>,
    ) -> Result<(Vec<UnfinishedUpload>, Option<Marker>), BucketError> {
        // The parameters must be sorted by name, because the URL is signed.
        let mut query = vec![("encoding-type", "url"), ("prefix", prefix), ("uploads", "")];
        if let Some((key, id)) = marker {
            query.insert(1, ("key-marker", key));
            query.insert(3, ("upload-id-marker", id));
        }
        let request = || self.signed_request(Method::Get, None, &query, &[]);
        let (Document::ListMultipartUploadsResult(page), _) = self.request_document(request).await? else {
            return Err(BucketError::malformed(Malformed::UnexpectedDocument));
        };
        let next = next_marker(&page)?;
        if next.is_some() && next.as_ref() == marker {
            return Err(BucketError::malformed(Malformed::RepeatedToken));
        }
        let encoding = page.encoding_type.as_deref();
        let unfinished = page.uploads.into_iter().map(|upload| {
            let started_at = upload.initiated.and_then(|text| text.parse::<Timestamp>().ok());
            Ok(UnfinishedUpload {
                key: decode(&upload.key, encoding).map_err(BucketError::malformed)?,
                upload_id: upload.upload_id,
                started_at: started_at.map(Into::into),
            })
        });
        Ok((unfinished.collect::<Result<_, BucketError>>()?, next))
    }
}

fn next_marker(page: &UploadPage) -> Result<Option<Marker>, BucketError> {
    if !page.is_truncated {
        return Ok(None);
    }
    let key = page.next_key_marker.as_ref().ok_or_else(|| BucketError::malformed(Malformed::UnexpectedDocument))?;
    let key = decode(key, page.encoding_type.as_deref()).map_err(BucketError::malformed)?;
    Ok(Some((key, page.next_upload_id_marker.clone().unwrap_or_default())))
}
