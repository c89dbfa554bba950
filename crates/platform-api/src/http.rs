//! Our own transport, and what makes a blocking one of it.

use std::io;

use async_trait::async_trait;
use auth_http::{AuthorizedClient, BlockingRuntime, HttpError, Request};

use crate::{ApiRequest, ApiResponse, Method, Transport, TransportError, blocking};

/// The headers of an answer that matter to somebody.
const HEADERS: [&str; 3] = ["location", "content-type", "retry-after"];

#[async_trait]
impl Transport for AuthorizedClient {
    async fn send(&self, request: ApiRequest) -> Result<ApiResponse, TransportError> {
        let limits = [request.body_limit(request.success), request.body_limit(0)];
        let ApiRequest { method, url, headers, body, timeout, success, .. } = request;
        let mut asked = Request::new(method.into(), url).with_timeout(timeout);
        // That of the body comes with it.
        for (name, value) in headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-type")) {
            asked = asked.with_header(name, value);
        }
        let asked = body.into_iter().fold(asked, |asked, body| asked.with_body("application/json", body));
        let response = Self::send(self, asked).await.map_err(failed)?;
        let status = response.status();
        let known = HEADERS.iter().filter_map(|&name| Some((name, response.header(name)?.to_owned())));
        let known: Vec<_> = known.collect();
        let body = if status == success {
            response.bytes(limits[0]).await.map_err(failed)?
        } else {
            // What it says beyond its status is welcome, and no more.
            response.bytes(limits[1]).await.unwrap_or_default()
        };
        let answer = ApiResponse::new(status, body);
        Ok(known.into_iter().fold(answer, |answer, (name, value)| answer.with_header(name, value)))
    }
}

fn failed(error: HttpError) -> TransportError {
    if error.is_broken() && error.is_connect() {
        TransportError::unreachable(error)
    } else if error.is_broken() {
        TransportError::interrupted(error)
    } else if error.is_too_large() {
        TransportError::unusable(error)
    } else {
        TransportError::failed(error)
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

/// An asynchronous transport for blocking callers, on a runtime of its own. Inside another runtime, whose thread it would
/// hold up, it refuses ([`ApiError::is_inside_runtime`](crate::ApiError::is_inside_runtime)).
#[derive(Debug)]
pub struct OnRuntime<T> {
    transport: T,
    runtime: BlockingRuntime,
}

impl<T: Transport> OnRuntime<T> {
    /// `transport`, and a runtime of one thread to run it on.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn new(transport: T) -> io::Result<Self> {
        Ok(Self { transport, runtime: BlockingRuntime::new("platform-api")? })
    }
}

impl<T: Transport> blocking::Transport for OnRuntime<T> {
    fn send(&self, request: ApiRequest) -> Result<ApiResponse, TransportError> {
        self.runtime.run(self.transport.send(request)).unwrap_or_else(|inside| Err(TransportError::failed(inside)))
    }
}
