//! The HTTP transport of the MCP library, which adds the token of one principal to every request.

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
use answer::Kind;
pub(crate) use error::{TransportError, shown};
use events::Reader;
use identity::Identity;
pub(crate) use identity::{Identities, Setup};
pub(crate) use message::{Removed, is_bounded, is_substitute};

// Headers of MCP (transports, streamable HTTP) and of the gateway.
const SESSION: &str = "mcp-session-id";
const LAST_EVENT: &str = "last-event-id";
pub(crate) const CORRELATION: &str = "x-correlation-id";
const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";
/// The maximum size of a JSON response, and of an event of a stream, in bytes.
const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;
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
    server: Server,
    policy: BearerPolicy,
    wanted: TokenRequest,
}

impl Transport {
    pub(crate) fn new(
        identities: Arc<Identities>,
        server: &Server,
        plain_loopback: bool,
        wanted: TokenRequest,
    ) -> Self {
        let destination = Destination::new(Authority::of(server.url()));
        let destination = if plain_loopback { destination.with_plain_loopback() } else { destination };
        Self { identities, server: server.clone(), policy: BearerPolicy::new(destination), wanted }
    }

    /// Sends a request with the current credentials. If it could not be sent, because no token was obtained or no
    /// connection was established, and the credentials have changed, sends it again with the new credentials.
    pub(crate) async fn send(&self, request: impl Fn() -> Request + Send + Sync) -> Result<Response, TransportError> {
        self.send_with(false, &request).await
    }

    async fn send_with(
        &self,
        is_optional: bool,
        request: &(dyn Fn() -> Request + Send + Sync),
    ) -> Result<Response, TransportError> {
        let identity = self.identities.current().await?;
        match self.send_as(&identity, is_optional, request).await {
            Err(TransportError::Http(error)) if error.is_token_error() || error.is_connect() => {
                match self.identities.instead_of(&identity).await {
                    Some(other) => self.send_as(&other, is_optional, request).await,
                    None => Err(error.into()),
                }
            }
            outcome => outcome,
        }
    }

    async fn send_as(
        &self,
        identity: &Identity,
        is_optional: bool,
        request: &(dyn Fn() -> Request + Send + Sync),
    ) -> Result<Response, TransportError> {
        if let Some(authorizer) = &identity.authorizer {
            let (server, url) = (self.server.id(), self.server.url());
            let call = Call { server, url, policy: &self.policy, principal: &self.wanted, is_optional, request };
            return Ok(authorizer.send(call).await?);
        }
        let request = request();
        let Some(tokens) = identity.tokens.clone() else {
            // A request for a user is not sent as the system by accident.
            if self.wanted.assertion().is_some() {
                return Err(CredentialError::no_tokens().into());
            }
            return Ok(identity.http.send(request).await?);
        };
        let client = identity.http.authorized(self.policy.clone(), tokens);
        Ok(client.with_token_request(self.wanted.clone()).send(request).await?)
    }

    fn request(&self, method: Method, headers: &HashMap<HeaderName, HeaderValue>, session: Option<&str>) -> Request {
        let request =
            Request::new(method, self.server.url().clone()).with_header("accept", format!("{JSON}, {EVENTS}"));
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
        let sending = Box::pin(self.send(|| {
            let request = self.request(Method::Post, &headers, session.as_deref());
            request.with_header(CORRELATION, &correlation).with_body(JSON, body.clone())
        }));
        let logins = self.identities.logins().of(self.server.url(), &self.wanted);
        answer::read(Kind::of(&message), session.is_some(), logins, sending).await
    }

    async fn delete_session(
        &self,
        _: Arc<str>,
        session: Arc<str>,
        _: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failure> {
        // No user logs in only to end a session.
        let request = || self.request(Method::Delete, &headers, Some(&session));
        let response = self.send_with(true, &request).await.map_err(Failure::Client)?;
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
        let resumes = last_event.is_some();
        let response = self.send(|| {
            let request = self.request(Method::Get, &headers, session.as_deref());
            last_event.iter().fold(request, |request, event| request.with_header(LAST_EVENT, event))
        });
        let response = response.await.map_err(Failure::Client)?;
        match (response.status(), media_type(&response)) {
            (200..=299, EVENTS) => Ok(Reader::new(response, None).into_events()),
            (405, _) => Err(Failure::ServerDoesNotSupportSse),
            // The server cannot resume a stream: repeating the request does not help.
            (400..=499, _) if resumes => Err(Failure::ServerDoesNotSupportSse),
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
