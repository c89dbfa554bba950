//! Requests of `object_store` to cloud stores, sent by `auth-http`.
//!
//! Requests for the credentials of a machine use a separate client. Only this client may use plain http to metadata
//! servers.

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
use super::connector::transport_error;
use crate::Crc32c;
use crate::storage::bucket::storage_checksum;

/// The maximum size of a response without a file, in bytes. The largest one is a list of 1000 keys with their
/// properties.
const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;
/// The headers with the checksum from the metadata of an object, in Google Cloud Storage and in S3.
const GOOGLE_METADATA: &str = "x-goog-meta-aignosticscrc32c";
const S3_METADATA: &str = "x-amz-meta-aignosticscrc32c";
/// The header of S3 with the checksum of the content. It is present if the request asks for it and the object has one.
const S3_CHECKSUM: &str = "x-amz-checksum-crc32c";
/// The maximum number of received chunks of a file that are buffered for the reader.
const MAX_BUFFERED_CHUNKS: usize = 4;

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

/// The HTTP service for requests to a store or to a metadata server.
#[derive(Debug)]
struct StoreService {
    http: Client,
    has_goog_hash: bool,
    #[cfg(feature = "store-azure")]
    account: Option<BlobAccount>,
}

/// The error of a request with an unsupported method.
#[derive(Debug, thiserror::Error)]
#[error("unsupported request of the object store")]
struct UnsupportedMethod;

impl HttpConnector for Connection {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // `object_store` sets this option for metadata servers, which have no certificates.
        let is_metadata = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        let http = if is_metadata { &self.metadata } else { &self.storage };
        Ok(HttpClient::new(StoreService {
            http: http.clone(),
            has_goog_hash: self.has_goog_hash && !is_metadata,
            #[cfg(feature = "store-azure")]
            account: self.account.clone().filter(|_| !is_metadata),
        }))
    }
}

#[async_trait::async_trait]
impl HttpService for StoreService {
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
        let response = self.http.send(request).await.map_err(transport_error)?;
        let mut builder = http::Response::builder().status(response.status());
        // A checksum that the store has computed replaces the checksum in the metadata, which the uploader has set.
        let content_checksum = self.content_checksum(&response);
        for (name, value) in response.all_headers() {
            if content_checksum.is_none_or(|(metadata, _)| name != metadata) {
                builder = builder.header(name, value);
            }
        }
        if let Some((metadata, crc32c)) = content_checksum {
            builder = builder.header(metadata, crc32c.to_string());
        }
        let body = if is_get {
            streaming_body(response)
        } else {
            HttpResponseBody::from(response.bytes(MAX_RESPONSE_BYTES).await.map_err(transport_error)?)
        };
        builder.body(body).map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))
    }
}

impl StoreService {
    /// Returns the checksum that the store has computed from the content, and the header with the checksum from the
    /// metadata.
    fn content_checksum(&self, response: &Response) -> Option<(&'static str, Crc32c)> {
        if self.has_goog_hash {
            return Some((GOOGLE_METADATA, storage_checksum(response)?));
        }
        // The checksum of a multipart object has a suffix and is not parsed: it is computed from the checksums of the
        // parts.
        Some((S3_METADATA, response.header(S3_CHECKSUM)?.parse().ok()?))
    }

    fn request(
        &self,
        head: &http::request::Parts,
        body: Bytes,
    ) -> Result<Request, Box<dyn std::error::Error + Send + Sync>> {
        let methods = [Method::Get, Method::Head, Method::Post, Method::Put, Method::Delete];
        let method =
            methods.into_iter().find(|method| method.to_string() == head.method.as_str()).ok_or(UnsupportedMethod)?;
        let mut request = Request::new(method, head.uri.to_string().parse()?);
        for (name, value) in &head.headers {
            // The HTTP client sets these two headers.
            if ![http::header::HOST, http::header::CONTENT_LENGTH].contains(name) {
                request = request.with_header(name.as_str(), value.to_str()?);
            }
        }
        if self.has_goog_hash && method == Method::Put {
            request = request.with_header("x-goog-hash", format!("crc32c={}", Crc32c::of(&body)));
        }
        // No content type is added, because some signatures cover this header.
        Ok(if matches!(method, Method::Put | Method::Post) { request.with_bytes(body) } else { request })
    }
}

/// Returns a body that streams the response. The reader can drop it at any time.
fn streaming_body(mut response: Response) -> HttpResponseBody {
    let (sender, mut receiver) = mpsc::channel(MAX_BUFFERED_CHUNKS);
    tokio::spawn(async move {
        loop {
            let chunk = response.chunk().await.map_err(transport_error).transpose();
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
