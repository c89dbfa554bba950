//! The interface between operations and HTTP clients.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::redacted;
use url::Url;

/// The maximum size of a successful response, in bytes. The largest expected response, a page of a hundred items with
/// many artifacts, is much smaller.
const BODY_LIMIT: usize = 64 * 1024 * 1024;
/// The maximum size of an error response, in bytes.
const ERROR_BODY_LIMIT: usize = 1024 * 1024;

/// The method of a request (RFC 9110, section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads a resource.
    Get,
    /// Creates a resource or starts an action.
    Post,
    /// Replaces a resource.
    Put,
    /// Deletes a resource.
    Delete,
}

impl Method {
    /// Returns the method name in upper case, such as `GET`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// The request of an operation. URL and headers may contain secrets, which `Debug` does not show.
#[non_exhaustive]
pub struct ApiRequest {
    /// The name of the operation in the OpenAPI document.
    pub operation: &'static str,
    /// The method.
    pub method: Method,
    /// The URL of the request.
    pub url: Url,
    /// All headers except those that the transport sets, such as `authorization`.
    pub headers: Vec<(String, String)>,
    /// The JSON to send, or `None` for a request without a body.
    pub body: Option<Vec<u8>>,
    /// The timeout of the request with its response. It does not include the time to obtain a token.
    pub timeout: Duration,
    /// The status of a successful response.
    pub success: u16,
}

impl ApiRequest {
    /// Returns the maximum size in bytes of a response with this status. A larger response is an error.
    pub fn body_limit(&self, status: u16) -> usize {
        if status == self.success { BODY_LIMIT } else { ERROR_BODY_LIMIT }
    }
}

impl fmt::Debug for ApiRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ApiRequest({} {} {})", self.operation, self.method, redacted(&self.url))
    }
}

/// A response with any status. `Debug` shows only the status, because the rest may contain secrets.
#[derive(Clone)]
pub struct ApiResponse {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl ApiResponse {
    /// Creates a response with this status (RFC 9110, section 15) and body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// Adds a header. A transport must pass on the header `location` of a response, and should pass on `retry-after`.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Returns the status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the value of the first header with this name. Names are compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }

    /// Returns the body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

impl fmt::Debug for ApiResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ApiResponse({})", self.status)
    }
}

/// A transport that sends requests of a [`Client`](crate::Client) with the caller's credentials. It must not follow
/// redirects. It must not retry a request that the server may have executed.
///
/// ```
/// use async_trait::async_trait;
/// use platform_api::{ApiRequest, ApiResponse, Transport, TransportError};
///
/// /// Returns recorded responses.
/// #[derive(Debug)]
/// struct Recorded;
///
/// #[async_trait]
/// impl Transport for Recorded {
///     async fn send(&self, request: ApiRequest) -> Result<ApiResponse, TransportError> {
///         match request.operation {
///             "list_applications" => Ok(ApiResponse::new(200, "[]")),
///             other => Err(TransportError::not_sent(format!("{other} was not recorded"))),
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    ///
    /// No complete response arrived.
    async fn send(&self, request: ApiRequest) -> Result<ApiResponse, TransportError>;
}

const _: Option<&dyn Transport> = None;

#[async_trait]
impl<T: Transport + ?Sized> Transport for std::sync::Arc<T> {
    async fn send(&self, request: ApiRequest) -> Result<ApiResponse, TransportError> {
        (**self).send(request).await
    }
}

/// The error of a request without a usable response. The constructors distinguish how far the request progressed.
#[derive(Debug)]
pub struct TransportError {
    pub(crate) progress: Progress,
    pub(crate) source: Box<dyn Error + Send + Sync>,
}

/// The progress of a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The platform was not reached.
    Unreachable,
    /// The platform may have received the request.
    Unknown,
    /// The request was not sent, and retrying cannot succeed.
    Unsent,
    /// The platform has responded.
    Responded,
}

impl TransportError {
    /// Creates the error for a platform that cannot be reached. The platform has not received the request, and a retry
    /// may succeed.
    pub fn unreachable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { progress: Progress::Unreachable, source: source.into() }
    }

    /// Creates the error for a request that was sent at least in part, but has no complete response. The platform may
    /// have executed the request.
    pub fn interrupted(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { progress: Progress::Unknown, source: source.into() }
    }

    /// Creates the error for a response that cannot be used. For example, it is too large.
    pub fn unusable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { progress: Progress::Responded, source: source.into() }
    }

    /// Creates the error for a request that was not sent and for which a retry cannot succeed. For example, there is no
    /// token.
    pub fn not_sent(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { progress: Progress::Unsent, source: source.into() }
    }
}
