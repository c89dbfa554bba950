//! The HTTP transport for the MCP library. It adds the token of one principal to each request.

mod answer;
mod error;
mod events;
mod identity;
mod message;
mod sse;

use std::collections::HashMap;
use std::sync::Arc;

use auth_core::{Authority, BearerPolicy, Destination, TokenRequest};
use auth_http::{Method, Request, Response};
use futures_util::stream::BoxStream;
use http::{HeaderName, HeaderValue};
use rmcp::model::{ClientJsonRpcMessage, GetExtensions};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::Sse;
use uuid::Uuid;

use crate::authorization::Call;
use crate::credentials::CredentialError;
use crate::server::Server;
use answer::MessageKind;
pub(crate) use error::{TransportError, sanitize};
use events::EventReader;
use identity::Identity;
pub(crate) use identity::{Identities, IdentitySetup};
pub(crate) use message::{RemovedTools, is_bounded, is_replacement_error};

// Headers of MCP (transports, streamable HTTP) and of the gateway.
const SESSION_HEADER: &str = "mcp-session-id";
const LAST_EVENT_HEADER: &str = "last-event-id";
pub(crate) const CORRELATION_HEADER: &str = "x-correlation-id";
const EVENT_STREAM: &str = "text/event-stream";
const JSON: &str = "application/json";
/// The maximum size of a JSON response, and of an event of a stream, in bytes.
const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;
/// The maximum size of an error response, in bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;

type McpHttpError = StreamableHttpError<TransportError>;
type EventStream = BoxStream<'static, Result<Sse, SseError>>;

/// The correlation id of a request, an extension of its message.
#[derive(Clone, Debug)]
pub(crate) struct CorrelationId(pub(crate) String);

impl CorrelationId {
    pub(crate) fn random() -> Self {
        Self(Uuid::new_v4().to_string())
    }
}

/// A transport to one server for one principal.
#[derive(Clone)]
pub(crate) struct Transport {
    identities: Arc<Identities>,
    server: Server,
    policy: BearerPolicy,
    token_request: TokenRequest,
}

impl Transport {
    pub(crate) fn new(
        identities: Arc<Identities>,
        server: &Server,
        plain_loopback: bool,
        token_request: TokenRequest,
    ) -> Self {
        let destination = Destination::new(Authority::of(server.url()));
        let destination = if plain_loopback { destination.with_plain_loopback() } else { destination };
        Self { identities, server: server.clone(), policy: BearerPolicy::new(destination), token_request }
    }

    /// Sends a request with the current credentials. If no token was obtained or no connection was established, and the
    /// credentials have changed, sends it again with the new credentials.
    pub(crate) async fn send(&self, request: impl Fn() -> Request + Send + Sync) -> Result<Response, TransportError> {
        self.send_or_retry(false, &request).await
    }

    async fn send_or_retry(
        &self,
        is_optional: bool,
        request: &(dyn Fn() -> Request + Send + Sync),
    ) -> Result<Response, TransportError> {
        let identity = self.identities.current().await?;
        match self.send_with_identity(&identity, is_optional, request).await {
            Err(TransportError::Http(error)) if error.is_token_error() || error.is_connect() => {
                match self.identities.replacement_for(&identity).await {
                    Some(new_identity) => self.send_with_identity(&new_identity, is_optional, request).await,
                    None => Err(error.into()),
                }
            }
            outcome => outcome,
        }
    }

    async fn send_with_identity(
        &self,
        identity: &Identity,
        is_optional: bool,
        request: &(dyn Fn() -> Request + Send + Sync),
    ) -> Result<Response, TransportError> {
        if let Some(authorizer) = &identity.authorizer {
            let (server, url) = (self.server.id(), self.server.url());
            let call = Call { server, url, policy: &self.policy, principal: &self.token_request, is_optional, request };
            return Ok(authorizer.send(call).await?);
        }
        let request = request();
        let Some(tokens) = identity.tokens.clone() else {
            // Without a token, the server would treat a request of a user as a request of the system.
            if self.token_request.assertion().is_some() {
                return Err(CredentialError::no_tokens().into());
            }
            return Ok(identity.http.send(request).await?);
        };
        let client = identity.http.authorized(self.policy.clone(), tokens);
        Ok(client.with_token_request(self.token_request.clone()).send(request).await?)
    }

    fn request(&self, method: Method, headers: &HashMap<HeaderName, HeaderValue>, session: Option<&str>) -> Request {
        let request =
            Request::new(method, self.server.url().clone()).with_header("accept", format!("{JSON}, {EVENT_STREAM}"));
        let text_headers = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let request = text_headers.fold(request, |request, (name, value)| request.with_header(name, value));
        session.into_iter().fold(request, |request, session| request.with_header(SESSION_HEADER, session))
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
    ) -> Result<StreamableHttpPostResponse, McpHttpError> {
        let body = serde_json::to_vec(&message)?;
        let CorrelationId(correlation_id) = correlation_id(&message);
        let response = Box::pin(self.send(|| {
            let request = self.request(Method::Post, &headers, session.as_deref());
            request.with_header(CORRELATION_HEADER, &correlation_id).with_body(JSON, body.clone())
        }));
        let logins = self.identities.logins().watch(self.server.url(), &self.token_request);
        answer::read_response(MessageKind::of(&message), session.is_some(), logins, response).await
    }

    async fn delete_session(
        &self,
        _: Arc<str>,
        session: Arc<str>,
        _: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), McpHttpError> {
        // The end of a session must not cause a login.
        let request = || self.request(Method::Delete, &headers, Some(&session));
        let response = self.send_or_retry(true, &request).await.map_err(McpHttpError::Client)?;
        match response.status() {
            200..=299 | 404 => Ok(()),
            405 => Err(McpHttpError::ServerDoesNotSupportDeleteSession),
            _ => Err(McpHttpError::Client(TransportError::from_response(response).await)),
        }
    }

    async fn get_stream(
        &self,
        _: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        _: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<EventStream, McpHttpError> {
        let resumes = last_event.is_some();
        let response = self.send(|| {
            let request = self.request(Method::Get, &headers, session.as_deref());
            last_event.iter().fold(request, |request, event| request.with_header(LAST_EVENT_HEADER, event))
        });
        let response = response.await.map_err(McpHttpError::Client)?;
        match (response.status(), media_type(&response)) {
            (200..=299, EVENT_STREAM) => Ok(EventReader::new(response, None).into_events()),
            (405, _) => Err(McpHttpError::ServerDoesNotSupportSse),
            // The server cannot resume a stream, so a repeated request does not help.
            (400..=499, _) if resumes => Err(McpHttpError::ServerDoesNotSupportSse),
            (200..=299, other) => Err(McpHttpError::UnexpectedContentType(Some(other.to_owned()))),
            _ => Err(McpHttpError::Client(TransportError::from_response(response).await)),
        }
    }
}

/// Returns the correlation id of the caller, or a random one.
fn correlation_id(message: &ClientJsonRpcMessage) -> CorrelationId {
    let requested_id = match message {
        ClientJsonRpcMessage::Request(request) => request.request.extensions().get::<CorrelationId>().cloned(),
        _ => None,
    };
    requested_id.unwrap_or_else(CorrelationId::random)
}

/// Returns [`EVENT_STREAM`] or [`JSON`] if a response has this media type, ignoring case. Otherwise, returns the media
/// type as sent, or an empty string.
fn media_type(response: &Response) -> &str {
    let content_type = response.header("content-type").unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    [EVENT_STREAM, JSON].into_iter().find(|known| essence.eq_ignore_ascii_case(known)).unwrap_or(essence)
}
