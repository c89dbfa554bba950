//! The project's own transport.

use async_trait::async_trait;
use auth_core::{AccessToken, Clock, SystemClock};
use auth_http::{AuthorizedClient, HttpError, Request, Response};

use crate::{ApiRequest, ApiResponse, Method, Transport, TransportError};

/// The response headers that are passed on.
const HEADERS: [&str; 2] = ["location", "content-type"];
/// The header with the pause before a retry, passed on in seconds.
const RETRY_AFTER: &str = "retry-after";

#[async_trait]
impl Transport for AuthorizedClient {
    async fn send(&self, request: ApiRequest) -> Result<ApiResponse, TransportError> {
        let (limits, request) = http_request(request);
        answered(limits, Self::send(self, request).await).await
    }
}

/// A transport that sends one token only, for callers that cache responses by identity. A rejected token is removed from
/// the cache, and the response is 401.
#[derive(Clone, Debug)]
pub struct Pinned {
    http: AuthorizedClient,
    token: AccessToken,
}

impl Pinned {
    /// Creates a transport that sends requests through `http` with `token`, obtained [from
    /// it](AuthorizedClient::token).
    pub fn new(http: AuthorizedClient, token: AccessToken) -> Self {
        Self { http, token }
    }
}

#[async_trait]
impl Transport for Pinned {
    async fn send(&self, request: ApiRequest) -> Result<ApiResponse, TransportError> {
        let (limits, request) = http_request(request);
        answered(limits, self.http.send_as(&self.token, request).await).await
    }
}

/// Maximum response sizes for success and for other statuses.
struct Limits {
    success: u16,
    answer: usize,
    refusal: usize,
}

fn http_request(request: ApiRequest) -> (Limits, Request) {
    let success = request.success;
    let limits = Limits { success, answer: request.body_limit(success), refusal: request.body_limit(0) };
    let ApiRequest { method, url, headers, body, timeout, .. } = request;
    let mut http_request = Request::new(method.into(), url).with_timeout(timeout);
    // The body sets its own content type.
    for (name, value) in headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-type")) {
        http_request = http_request.with_header(name, value);
    }
    (limits, body.into_iter().fold(http_request, |http_request, body| http_request.with_body("application/json", body)))
}

async fn answered(limits: Limits, response: Result<Response, HttpError>) -> Result<ApiResponse, TransportError> {
    let response = response.map_err(failed)?;
    let status = response.status();
    let headers = HEADERS.iter().filter_map(|&name| Some((name, response.header(name)?.to_owned())));
    // A date is relative to the response's `Date` header, which is not passed on.
    let pause = response.retry_after(SystemClock.now()).map(|pause| (RETRY_AFTER, pause.as_secs().to_string()));
    let headers: Vec<_> = headers.chain(pause).collect();
    let body = if status == limits.success {
        response.bytes(limits.answer).await.map_err(failed)?
    } else {
        // The body of an error response is optional.
        response.bytes(limits.refusal).await.unwrap_or_default()
    };
    let answer = ApiResponse::new(status, body);
    Ok(headers.into_iter().fold(answer, |answer, (name, value)| answer.with_header(name, value)))
}

fn failed(error: HttpError) -> TransportError {
    if error.is_transient() && error.is_connect() {
        TransportError::unreachable(error)
    } else if error.is_unsent() {
        TransportError::not_sent(error)
    } else if error.is_broken() {
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
