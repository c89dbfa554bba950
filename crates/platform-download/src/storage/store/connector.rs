//! An HTTP connector for `object_store` that signs all URLs for a bucket, and sends requests with its HTTP client.

use std::sync::Arc;

use async_trait::async_trait;
use auth_http::{Method, Request};
use bytes::Bytes;
use http_body_util::BodyExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::{ClientOptions, StaticCredentialProvider};
use percent_encoding::percent_decode_str;

use crate::retry::for_object_store;
use crate::storage::signer::UnsignedRequest;
use crate::{Bucket, Crc32c};

/// The maximum size of a response, in bytes: the manifest of a run with very many results.
const MAX_RESPONSE_BYTES: usize = 256 * 1024 * 1024;
/// The response headers that `object_store` uses.
const RESPONSE_HEADERS: [&str; 6] =
    ["content-length", "content-type", "etag", "last-modified", "retry-after", "x-goog-generation"];

/// Connects to the storage of a bucket. Signed URLs are the only credentials.
pub(super) fn connect(bucket: &Bucket) -> object_store::Result<GoogleCloudStorage> {
    let no_token = StaticCredentialProvider::new(GcpCredential { bearer: String::new() });
    GoogleCloudStorageBuilder::new()
        .with_bucket_name(bucket.name())
        .with_base_url(bucket.signer().endpoint().as_str().trim_end_matches('/'))
        // Without explicit credentials, the library would search this machine for some.
        .with_credentials(Arc::new(no_token))
        .with_skip_signature(true)
        .with_retry(for_object_store(bucket.retry()))
        .with_http_connector(SigningConnector(bucket.clone()))
        .build()
}

/// An HTTP client for one bucket that signs the URL of each request.
#[derive(Clone, Debug)]
struct SigningConnector(Bucket);

/// The error of a request with an unsupported method, or for something other than an object of the bucket.
#[derive(Debug, thiserror::Error)]
#[error("unsupported request of the object store")]
struct UnsupportedRequest;

impl HttpConnector for SigningConnector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for SigningConnector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let unknown_error =
            |error: Box<dyn std::error::Error + Send + Sync>| HttpError::new_boxed(HttpErrorKind::Unknown, error);
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let request = self.sign(&head, body).map_err(unknown_error)?;
        let response = self.0.http().send(request).await.map_err(transport_error)?;
        let mut builder = http::Response::builder().status(response.status());
        for name in RESPONSE_HEADERS {
            builder = response.header(name).into_iter().fold(builder, |builder, value| builder.header(name, value));
        }
        let body = response.bytes(MAX_RESPONSE_BYTES).await.map_err(transport_error)?;
        builder.body(HttpResponseBody::from(body)).map_err(|error| unknown_error(error.into()))
    }
}

impl SigningConnector {
    /// Returns the request with a signed URL. A PUT request also gets the CRC32C of its body.
    fn sign(
        &self,
        head: &http::request::Parts,
        body: Bytes,
    ) -> Result<Request, Box<dyn std::error::Error + Send + Sync>> {
        let bucket = &self.0;
        let method = [Method::Get, Method::Head, Method::Post, Method::Put, Method::Delete];
        let method =
            method.into_iter().find(|method| method.to_string() == head.method.as_str()).ok_or(UnsupportedRequest)?;
        let url: url::Url = head.uri.to_string().parse()?;
        let root = bucket.signer().endpoint().path().trim_end_matches('/');
        let path = url.path().strip_prefix(root).and_then(|path| path.strip_prefix('/')).ok_or(UnsupportedRequest)?;
        // The path is decoded, because the signer encodes the key again.
        let path = percent_decode_str(path).decode_utf8()?;
        let key = path.strip_prefix(bucket.name()).and_then(|path| path.strip_prefix('/')).ok_or(UnsupportedRequest)?;
        let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let mut query: Vec<_> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        query.sort_unstable();
        let mut headers: Vec<(&str, &str)> = Vec::new();
        for (name, value) in &head.headers {
            headers.push((name.as_str(), value.to_str()?));
        }
        let hash = format!("crc32c={}", Crc32c::of(&body));
        if method == Method::Put {
            headers.push(("x-goog-hash", &hash));
        }
        let mut signed: Vec<_> = headers.iter().copied().filter(|(name, _)| name.starts_with("x-goog-")).collect();
        signed.sort_unstable();
        let unsigned =
            UnsignedRequest { method, bucket: bucket.name(), key: Some(key), query: &query, headers: &signed };
        let url = bucket.signer().sign_put(&unsigned)?;
        let mut request = Request::new(method, url.expose().clone());
        let mut content_type = "application/octet-stream";
        for (name, value) in headers {
            match name {
                "content-type" => content_type = value,
                "authorization" | "content-length" | "host" => {}
                _ => request = request.with_header(name, value),
            }
        }
        Ok(if matches!(method, Method::Put | Method::Post) { request.with_body(content_type, body) } else { request })
    }
}

pub(super) fn transport_error(error: auth_http::HttpError) -> HttpError {
    let kind = if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_transport_error() {
        HttpErrorKind::Interrupted
    } else {
        HttpErrorKind::Unknown
    };
    HttpError::new(kind, error)
}
