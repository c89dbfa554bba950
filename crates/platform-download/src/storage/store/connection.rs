//! Requests of `object_store` to stores of clouds, through `auth-http`.
//!
//! Requests for credentials of a machine use another client, which alone may use plain http to metadata servers.

use auth_http::{HttpClient as Client, Method, Request, Response};
use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use object_store::ClientOptions;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use tokio::sync::mpsc;

#[cfg(feature = "store-azure")]
use super::blob_account::BlobAccount;
use super::connector::failed;
use crate::Crc32c;
use crate::storage::bucket::stated_checksum;

/// The maximum size of a response without a file, in bytes: 1000 keys of a list with their properties.
const LIMIT: usize = 8 * 1024 * 1024;
/// The headers with the checksum in the metadata of an object in Google's storage and in S3.
const GOOGLE_METADATA: &str = "x-goog-meta-aignosticscrc32c";
const S3_METADATA: &str = "x-amz-meta-aignosticscrc32c";
/// The header in which S3 states the checksum of the content, if it has one and the request wants it.
const S3_CHECKSUM: &str = "x-amz-checksum-crc32c";
/// The number of received chunks of a file that wait for their reader.
const AHEAD: usize = 4;

/// The clients for a store and for its credentials.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) storage: Client,
    pub(super) metadata: Client,
    /// The store verifies `x-goog-hash`.
    pub(super) has_goog_hash: bool,
    #[cfg(feature = "store-azure")]
    pub(super) account: Option<BlobAccount>,
}

/// A client for one of the two purposes.
#[derive(Debug)]
struct Service {
    http: Client,
    has_goog_hash: bool,
    #[cfg(feature = "store-azure")]
    account: Option<BlobAccount>,
}

/// The error of a request with an unsupported method.
#[derive(Debug, thiserror::Error)]
#[error("a request of the object store is not understood")]
struct Unknown;

impl HttpConnector for Connection {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // The library sets it for metadata servers, which have no certificates.
        let is_metadata = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        let http = if is_metadata { &self.metadata } else { &self.storage };
        Ok(HttpClient::new(Service {
            http: http.clone(),
            has_goog_hash: self.has_goog_hash && !is_metadata,
            #[cfg(feature = "store-azure")]
            account: self.account.clone().filter(|_| !is_metadata),
        }))
    }
}

#[async_trait::async_trait]
impl HttpService for Service {
    #[cfg_attr(not(feature = "store-azure"), expect(unused_mut, reason = "only Azure changes requests"))]
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        #[cfg(feature = "store-azure")]
        if let Some(account) = &self.account {
            account.add_checksum(&mut request).map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let request = self.request(&head, body).map_err(|error| HttpError::new_boxed(HttpErrorKind::Unknown, error))?;
        let is_get = head.method == http::Method::GET;
        let response = self.http.send(request).await.map_err(failed)?;
        let mut answer = http::Response::builder().status(response.status());
        // The checksum that the store states of the content is better than the one that was stored with it.
        let stated = self.stated(&response);
        for (name, value) in response.all_headers() {
            if stated.is_none_or(|(metadata, _)| name != metadata) {
                answer = answer.header(name, value);
            }
        }
        answer = stated.iter().fold(answer, |answer, (metadata, crc32c)| answer.header(*metadata, crc32c.to_string()));
        let body = if is_get {
            streamed(response)
        } else {
            HttpResponseBody::from(response.bytes(LIMIT).await.map_err(failed)?)
        };
        answer.body(body).map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))
    }
}

impl Service {
    /// Returns the checksum of the content that the store states, and the header of the metadata that it replaces.
    fn stated(&self, response: &Response) -> Option<(&'static str, Crc32c)> {
        if self.has_goog_hash {
            return Some((GOOGLE_METADATA, stated_checksum(response)?));
        }
        // The checksum of the checksums of parts has a suffix, and is not that of the content.
        Some((S3_METADATA, response.header(S3_CHECKSUM)?.parse().ok()?))
    }

    fn request(
        &self,
        head: &http::request::Parts,
        body: Bytes,
    ) -> Result<Request, Box<dyn std::error::Error + Send + Sync>> {
        let methods = [Method::Get, Method::Head, Method::Post, Method::Put, Method::Delete];
        let method = methods.into_iter().find(|method| method.to_string() == head.method.as_str()).ok_or(Unknown)?;
        let mut request = Request::new(method, head.uri.to_string().parse()?);
        for (name, value) in &head.headers {
            // The client sets these two.
            if ![http::header::HOST, http::header::CONTENT_LENGTH].contains(name) {
                request = request.with_header(name.as_str(), value.to_str()?);
            }
        }
        if self.has_goog_hash && method == Method::Put {
            request = request.with_header("x-goog-hash", format!("crc32c={}", Crc32c::of(&body)));
        }
        // The header is part of some signatures, so that no content type is added.
        Ok(if matches!(method, Method::Put | Method::Post) { request.with_bytes(body) } else { request })
    }
}

/// Returns the body of a response that is read on demand. The reader can drop it at any time.
fn streamed(mut response: Response) -> HttpResponseBody {
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        loop {
            let chunk = response.chunk().await.map_err(failed).transpose();
            let is_last = !matches!(chunk, Some(Ok(_)));
            let Some(chunk) = chunk else { return };
            if sender.send(chunk.map(Frame::data)).await.is_err() || is_last {
                return;
            }
        }
    });
    let frames = stream::poll_fn(move |context| receiver.poll_recv(context));
    HttpResponseBody::new(StreamBody::new(frames))
}
