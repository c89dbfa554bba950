//! The HTTP transport of the MCP library, which adds the token of one principal to every request.

mod error;
mod events;
mod identity;

use std::collections::HashMap;
use std::sync::Arc;

use auth_core::{Authority, BearerPolicy, Destination, TokenRequest};
use auth_http::{HttpError, Method, Request, Response};
use futures_util::stream::BoxStream;
use http::{HeaderName, HeaderValue};
use rmcp::model::{ClientJsonRpcMessage, GetExtensions, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::Sse;
use url::Url;
use uuid::Uuid;

pub(crate) use error::{TransportError, shown};
use identity::Identity;
pub(crate) use identity::{Identities, Setup};

// Headers of MCP (transports, streamable HTTP) and of the gateway.
const SESSION: &str = "mcp-session-id";
const LAST_EVENT: &str = "last-event-id";
const CORRELATION: &str = "x-correlation-id";
const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";
/// The maximum size of a JSON response, in bytes.
const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;
/// The maximum size of an error response, in bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;

type Failure = StreamableHttpError<TransportError>;
type Events = BoxStream<'static, Result<Sse, SseError>>;

/// The correlation id of a request, an extension of its message.
#[derive(Clone, Debug)]
pub(crate) struct Correlation(pub(crate) String);

impl Correlation {
    pub(crate) fn random() -> Self {
        Self(Uuid::new_v4().to_string())
    }
}

/// A transport to one server for one principal.
#[derive(Clone)]
pub(crate) struct Transport {
    identities: Arc<Identities>,
    url: Url,
    policy: BearerPolicy,
    wanted: TokenRequest,
}

impl Transport {
    pub(crate) fn new(identities: Arc<Identities>, url: &Url, plain_loopback: bool, wanted: TokenRequest) -> Self {
        let destination = Destination::new(Authority::of(url));
        let destination = if plain_loopback { destination.with_plain_loopback() } else { destination };
        Self { identities, url: url.clone(), policy: BearerPolicy::new(destination), wanted }
    }

    /// Sends a request with the current credentials. If it could not be sent, because no token was obtained or no
    /// connection was established, and the credentials have changed, sends it again with the new credentials.
    async fn send(&self, request: impl Fn() -> Request) -> Result<Response, TransportError> {
        let identity = self.identities.current().await?;
        match self.send_as(&identity, request()).await {
            Err(error) if error.is_token_error() || error.is_connect() => {
                match self.identities.instead_of(&identity).await {
                    Some(other) => Ok(self.send_as(&other, request()).await?),
                    None => Err(error.into()),
                }
            }
            outcome => Ok(outcome?),
        }
    }

    async fn send_as(&self, identity: &Identity, request: Request) -> Result<Response, HttpError> {
        let client = identity.http.authorized(self.policy.clone(), identity.tokens.clone());
        client.with_token_request(self.wanted.clone()).send(request).await
    }

    fn request(&self, method: Method, headers: &HashMap<HeaderName, HeaderValue>, session: Option<&str>) -> Request {
        let request = Request::new(method, self.url.clone()).with_header("accept", format!("{JSON}, {EVENTS}"));
        let texts = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let request = texts.fold(request, |request, (name, value)| request.with_header(name, value));
        session.into_iter().fold(request, |request, session| request.with_header(SESSION, session))
    }
}

impl StreamableHttpClient for Transport {
    type Error = TransportError;

    async fn post_message(
        &self,
        _: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let body = serde_json::to_vec(&message)?;
        let Correlation(correlation) = correlation(&message);
        let response = self.send(|| {
            let request = self.request(Method::Post, &headers, session.as_deref());
            request.with_header(CORRELATION, &correlation).with_body(JSON, body.clone())
        });
        let response = response.await.map_err(Failure::Client)?;
        match response.status() {
            202 | 204 => return Ok(StreamableHttpPostResponse::Accepted),
            404 if session.is_some() => return Err(Failure::SessionExpired),
            200..=299 => {}
            _ => return Err(Failure::Client(TransportError::refusal(response).await)),
        }
        let granted = response.header(SESSION).map(str::to_owned);
        let is_request = matches!(message, ClientJsonRpcMessage::Request(_));
        match media_type(&response) {
            EVENTS => Ok(StreamableHttpPostResponse::Sse(events::of(response), granted)),
            JSON if is_request => {
                let answer = response.bytes(MAX_RESPONSE_BYTES).await.map_err(|error| Failure::Client(error.into()))?;
                // The decoder's error message may show the response.
                let message: ServerJsonRpcMessage = serde_json::from_slice(&answer)
                    .map_err(|_| Failure::UnexpectedServerResponse("the response is not an MCP message".into()))?;
                Ok(StreamableHttpPostResponse::Json(message, granted))
            }
            // The caller expects no response.
            _ if !is_request => Ok(StreamableHttpPostResponse::Accepted),
            other => Err(Failure::UnexpectedContentType(Some(other.to_owned()))),
        }
    }

    async fn delete_session(
        &self,
        _: Arc<str>,
        session: Arc<str>,
        _: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failure> {
        let response = self.send(|| self.request(Method::Delete, &headers, Some(&session)));
        let response = response.await.map_err(Failure::Client)?;
        match response.status() {
            200..=299 | 404 => Ok(()),
            405 => Err(Failure::ServerDoesNotSupportDeleteSession),
            _ => Err(Failure::Client(TransportError::refusal(response).await)),
        }
    }

    async fn get_stream(
        &self,
        _: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        _: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<Events, Failure> {
        let response = self.send(|| {
            let request = self.request(Method::Get, &headers, session.as_deref());
            last_event.iter().fold(request, |request, event| request.with_header(LAST_EVENT, event))
        });
        let response = response.await.map_err(Failure::Client)?;
        match (response.status(), media_type(&response)) {
            (200..=299, EVENTS) => Ok(events::of(response)),
            (405, _) => Err(Failure::ServerDoesNotSupportSse),
            (200..=299, other) => Err(Failure::UnexpectedContentType(Some(other.to_owned()))),
            _ => Err(Failure::Client(TransportError::refusal(response).await)),
        }
    }
}

/// Returns the correlation id of the caller, or a random one.
fn correlation(message: &ClientJsonRpcMessage) -> Correlation {
    let wanted = match message {
        ClientJsonRpcMessage::Request(request) => request.request.extensions().get::<Correlation>().cloned(),
        _ => None,
    };
    wanted.unwrap_or_else(Correlation::random)
}

/// Returns [`EVENTS`] or [`JSON`] if a response has this media type, ignoring case. Otherwise returns the media type as
/// sent, which may be empty.
fn media_type(response: &Response) -> &str {
    let stated = response.header("content-type").unwrap_or_default();
    let essence = stated.split(';').next().unwrap_or_default().trim();
    [EVENTS, JSON].into_iter().find(|known| essence.eq_ignore_ascii_case(known)).unwrap_or(essence)
}
