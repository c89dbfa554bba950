//! The transport of this project: `auth_http::AuthorizedClient`.

use async_trait::async_trait;
use auth_core::{AccessToken, Clock, SystemClock};
use auth_http::{AuthorizedClient, HttpError, Request, Response};

use crate::{ApiRequest, ApiResponse, Method, Transport, TransportError};

/// The response headers that are passed on.
const FORWARDED_HEADERS: [&str; 2] = ["location", "content-type"];
/// The header with the pause before a retry (RFC 9110, section 10.2.3). It is passed on in seconds.
const RETRY_AFTER: &str = "retry-after";

#[async_trait]
impl Transport for AuthorizedClient {
    async fn send(&self, request: ApiRequest) -> Result<ApiResponse, TransportError> {
        let (limits, request) = http_request(request);
        api_response(limits, Self::send(self, request).await).await
    }
}

/// A transport that uses the same token for all requests. A caller that caches responses therefore knows for which user
/// they are valid. A rejected token is removed from the token cache and not replaced: the response has the status 401.
#[derive(Clone, Debug)]
pub struct Pinned {
    http: AuthorizedClient,
    token: AccessToken,
}

impl Pinned {
    /// Creates a transport that sends requests through `http` with `token`, which must come from
    /// [`http.token`](AuthorizedClient::token).
    pub fn new(http: AuthorizedClient, token: AccessToken) -> Self {
        Self { http, token }
    }
}

#[async_trait]
impl Transport for Pinned {
    async fn send(&self, request: ApiRequest) -> Result<ApiResponse, TransportError> {
        let (limits, request) = http_request(request);
        api_response(limits, self.http.send_as(&self.token, request).await).await
    }
}

/// The maximum sizes of responses, in bytes.
struct Limits {
    success_status: u16,
    success_bytes: usize,
    error_bytes: usize,
}

fn http_request(request: ApiRequest) -> (Limits, Request) {
    let success_status = request.success;
    let (success_bytes, error_bytes) = (request.body_limit(success_status), request.body_limit(0));
    let limits = Limits { success_status, success_bytes, error_bytes };
    let ApiRequest { method, url, headers, body, timeout, .. } = request;
    let mut http_request = Request::new(method.into(), url).with_timeout(timeout);
    // `with_body` sets the content type.
    for (name, value) in headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-type")) {
        http_request = http_request.with_header(name, value);
    }
    (limits, body.into_iter().fold(http_request, |http_request, body| http_request.with_body("application/json", body)))
}

async fn api_response(limits: Limits, response: Result<Response, HttpError>) -> Result<ApiResponse, TransportError> {
    let response = response.map_err(transport_error)?;
    let status = response.status();
    let headers = FORWARDED_HEADERS.iter().filter_map(|&name| Some((name, response.header(name)?.to_owned())));
    // `Retry-After` is converted to seconds, because a date can only be interpreted with the `Date` header, which is
    // not passed on.
    let retry_pause =
        response.retry_after(SystemClock.now()).map(|retry_pause| (RETRY_AFTER, retry_pause.as_secs().to_string()));
    let headers: Vec<_> = headers.chain(retry_pause).collect();
    let body = if status == limits.success_status {
        response.bytes(limits.success_bytes).await.map_err(transport_error)?
    } else {
        // The status of an error response is useful even if its body cannot be read.
        response.bytes(limits.error_bytes).await.unwrap_or_default()
    };
    let response = ApiResponse::new(status, body);
    Ok(headers.into_iter().fold(response, |response, (name, value)| response.with_header(name, value)))
}

fn transport_error(error: HttpError) -> TransportError {
    if error.is_transient() && error.is_connect() {
        TransportError::unreachable(error)
    } else if error.is_unsent() {
        TransportError::not_sent(error)
    } else if error.is_transport_error() {
        TransportError::interrupted(error)
    } else if error.is_too_large() {
        TransportError::unusable(error)
    } else {
        TransportError::not_sent(error)
    }
}

impl From<Method> for auth_http::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::Get,
            Method::Post => Self::Post,
            Method::Put => Self::Put,
            Method::Delete => Self::Delete,
        }
    }
}
