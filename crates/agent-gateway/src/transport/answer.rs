//! Responses to posted messages.

use std::future::Future;
use std::time::Duration;

use auth_http::Response;
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ErrorData, JsonRpcMessage, RequestId, ServerJsonRpcMessage, ServerResult,
};
use rmcp::transport::streamable_http_client::StreamableHttpPostResponse;
use tokio::sync::watch;

use super::message::Incoming;
use crate::authorization::unless_login;

use super::{EVENTS, Failure, JSON, MAX_ERROR_BYTES, MAX_RESPONSE_BYTES, Reader, SESSION, TransportError, media_type};

/// The time limit for the response to `server/discover`. Some servers without it never respond to what they do not know.
const DISCOVER_TIMEOUT: Duration = Duration::from_secs(4);

/// The kind of a posted message.
pub(super) enum Kind {
    /// `server/discover`, which servers before MCP 2026-07-28 refuse in many ways.
    Discover(RequestId),
    /// `initialize`, which starts a session.
    Initialize(RequestId),
    Request(RequestId),
    /// A notification, or a response to the server.
    Other,
}

impl Kind {
    pub(super) fn of(message: &ClientJsonRpcMessage) -> Self {
        let ClientJsonRpcMessage::Request(request) = message else { return Self::Other };
        let id = request.id.clone();
        match request.request {
            ClientRequest::DiscoverRequest(_) => Self::Discover(id),
            ClientRequest::InitializeRequest(_) => Self::Initialize(id),
            _ => Self::Request(id),
        }
    }
}

/// Reads the response to a message.
pub(super) async fn read(
    kind: Kind,
    has_session: bool,
    logins: watch::Receiver<usize>,
    sending: impl Future<Output = Result<Response, TransportError>> + Send,
) -> Result<StreamableHttpPostResponse, Failure> {
    match kind {
        Kind::Discover(id) => discovered(id, logins, sending).await,
        Kind::Initialize(id) => {
            let response = accepted(sending, false).await?;
            let granted = response.header(SESSION).map(str::to_owned);
            let message = match media_type(&response) {
                EVENTS => whole(response, &id).await?,
                _ => json(response, &id).await?,
            };
            Ok(StreamableHttpPostResponse::Json(message, granted))
        }
        Kind::Request(id) => {
            let response = accepted(sending, has_session).await?;
            let granted = response.header(SESSION).map(str::to_owned);
            match (response.status(), media_type(&response)) {
                (202 | 204, _) => Ok(StreamableHttpPostResponse::Accepted),
                (_, EVENTS) => {
                    Ok(StreamableHttpPostResponse::Sse(Reader::new(response, Some(id)).into_events(), granted))
                }
                _ => Ok(StreamableHttpPostResponse::Json(json(response, &id).await?, granted)),
            }
        }
        // The caller expects no response, and the next request shows if the server did not accept this.
        Kind::Other => match accepted(sending, has_session).await {
            Ok(_) => Ok(StreamableHttpPostResponse::Accepted),
            Err(Failure::Client(TransportError::Status { status, .. })) if !matches!(status, 401 | 403) => {
                tracing::debug!(status, "the server refused a notification");
                Ok(StreamableHttpPostResponse::Accepted)
            }
            Err(error) => Err(error),
        },
    }
}

/// Returns a response with a status of success.
async fn accepted(
    sending: impl Future<Output = Result<Response, TransportError>> + Send,
    has_session: bool,
) -> Result<Response, Failure> {
    let response = sending.await.map_err(Failure::Client)?;
    match response.status() {
        404 if has_session => Err(Failure::SessionExpired),
        200..=299 => Ok(response),
        _ => Err(Failure::Client(TransportError::refusal(response).await)),
    }
}

/// Returns the response to a request from a JSON body.
async fn json(response: Response, id: &RequestId) -> Result<ServerJsonRpcMessage, Failure> {
    match media_type(&response) {
        JSON => {}
        other => return Err(Failure::UnexpectedContentType(Some(other.to_owned()))),
    }
    let body = response.bytes(MAX_RESPONSE_BYTES).await.map_err(|error| Failure::Client(error.into()))?;
    let incoming = Incoming::parse(&body);
    drop(body);
    let message = incoming.and_then(|incoming| {
        incoming.check_id(id)?;
        incoming.decode(Some(id))
    });
    message.map_err(|problem| Failure::UnexpectedServerResponse(problem.into()))
}

/// Returns the response to a request from a stream.
async fn whole(response: Response, id: &RequestId) -> Result<ServerJsonRpcMessage, Failure> {
    let message = Reader::new(response, Some(id.clone())).response().await;
    message.ok_or_else(|| Failure::UnexpectedServerResponse("the stream ended without the response".into()))
}

/// Returns the response to `server/discover`. Whatever a server without this request responds with becomes an error that
/// lets the library fall back to `initialize`.
async fn discovered(
    id: RequestId,
    logins: watch::Receiver<usize>,
    sending: impl Future<Output = Result<Response, TransportError>> + Send,
) -> Result<StreamableHttpPostResponse, Failure> {
    let asking = async {
        // The library waits for 10 s only, so that the session is started again after the login.
        let response = unless_login(logins, sending).await.unwrap_or(Err(TransportError::LoginInProgress));
        let response = response.map_err(Failure::Client)?;
        match response.status() {
            200..=299 => {}
            400 | 402 | 404..=428 | 430..=499 | 500 | 501 => return Ok(refused(response, &id).await),
            _ => return Err(Failure::Client(TransportError::refusal(response).await)),
        }
        let message = match media_type(&response) {
            EVENTS => whole(response, &id).await,
            _ => json(response, &id).await,
        };
        Ok(match message {
            Ok(JsonRpcMessage::Response(response)) if !matches!(response.result, ServerResult::DiscoverResult(_)) => {
                unknown(&id)
            }
            Ok(message) => message,
            Err(_) => unknown(&id),
        })
    };
    let message = tokio::time::timeout(DISCOVER_TIMEOUT, asking).await;
    Ok(StreamableHttpPostResponse::Json(message.unwrap_or_else(|_| Ok(unknown(&id)))?, None))
}

/// Returns the error of the server, which tells a version that is not supported from a request that is not known.
async fn refused(response: Response, id: &RequestId) -> ServerJsonRpcMessage {
    let body = response.bytes(MAX_ERROR_BYTES).await.unwrap_or_default();
    match Incoming::parse(&body).and_then(|incoming| incoming.decode(Some(id))) {
        Ok(error @ JsonRpcMessage::Error(_)) => error,
        _ => unknown(id),
    }
}

fn unknown(id: &RequestId) -> ServerJsonRpcMessage {
    let error = ErrorData::invalid_request("the server does not support `server/discover`", None);
    ServerJsonRpcMessage::error(error, Some(id.clone()))
}
