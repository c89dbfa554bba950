//! Responses to posted messages.

use std::future::Future;
use std::time::Duration;

use auth_http::Response;
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ErrorData, JsonRpcMessage, RequestId, ServerJsonRpcMessage, ServerResult,
};
use rmcp::transport::streamable_http_client::StreamableHttpPostResponse;
use tokio::sync::watch;

use super::message::IncomingMessage;
use crate::authorization::run_until_login;

use super::{
    EVENT_STREAM, EventReader, JSON, MAX_ERROR_BYTES, MAX_RESPONSE_BYTES, McpHttpError, SESSION_HEADER, TransportError,
    media_type,
};

/// The time limit for the response to `server/discover`. Some servers never respond to unknown requests.
const DISCOVER_TIMEOUT: Duration = Duration::from_secs(4);

/// The kind of a posted message.
pub(super) enum MessageKind {
    /// `server/discover`. Servers of versions before MCP 2026-07-28 refuse it in different ways.
    Discover(RequestId),
    /// `initialize`, which starts a session.
    Initialize(RequestId),
    Request(RequestId),
    /// A notification, or a response to the server.
    Other,
}

impl MessageKind {
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
pub(super) async fn read_response(
    kind: MessageKind,
    has_session: bool,
    logins: watch::Receiver<usize>,
    response_future: impl Future<Output = Result<Response, TransportError>> + Send,
) -> Result<StreamableHttpPostResponse, McpHttpError> {
    match kind {
        MessageKind::Discover(id) => read_discover_response(id, logins, response_future).await,
        MessageKind::Initialize(id) => {
            let response = successful_response(response_future, false).await?;
            let session_id = response.header(SESSION_HEADER).map(str::to_owned);
            let message = match media_type(&response) {
                EVENT_STREAM => read_stream(response, &id).await?,
                _ => read_json(response, &id).await?,
            };
            Ok(StreamableHttpPostResponse::Json(message, session_id))
        }
        MessageKind::Request(id) => {
            let response = successful_response(response_future, has_session).await?;
            let session_id = response.header(SESSION_HEADER).map(str::to_owned);
            match (response.status(), media_type(&response)) {
                (202 | 204, _) => Ok(StreamableHttpPostResponse::Accepted),
                (_, EVENT_STREAM) => {
                    Ok(StreamableHttpPostResponse::Sse(EventReader::new(response, Some(id)).into_events(), session_id))
                }
                _ => Ok(StreamableHttpPostResponse::Json(read_json(response, &id).await?, session_id)),
            }
        }
        // The caller expects no response. If the server did not accept the message, the next request shows it.
        MessageKind::Other => match successful_response(response_future, has_session).await {
            Ok(_) => Ok(StreamableHttpPostResponse::Accepted),
            Err(McpHttpError::Client(TransportError::Status { status, .. })) if !matches!(status, 401 | 403) => {
                tracing::debug!(status, "the server refused a notification");
                Ok(StreamableHttpPostResponse::Accepted)
            }
            Err(error) => Err(error),
        },
    }
}

/// Returns a response with a success status, or the error of another status.
async fn successful_response(
    response_future: impl Future<Output = Result<Response, TransportError>> + Send,
    has_session: bool,
) -> Result<Response, McpHttpError> {
    let response = response_future.await.map_err(McpHttpError::Client)?;
    match response.status() {
        404 if has_session => Err(McpHttpError::SessionExpired),
        200..=299 => Ok(response),
        _ => Err(McpHttpError::Client(TransportError::from_response(response).await)),
    }
}

/// Reads the response to a request from a JSON body.
async fn read_json(response: Response, id: &RequestId) -> Result<ServerJsonRpcMessage, McpHttpError> {
    match media_type(&response) {
        JSON => {}
        other => return Err(McpHttpError::UnexpectedContentType(Some(other.to_owned()))),
    }
    let body = response.bytes(MAX_RESPONSE_BYTES).await.map_err(|error| McpHttpError::Client(error.into()))?;
    let incoming = IncomingMessage::parse(&body);
    drop(body);
    let message = incoming.and_then(|incoming| {
        incoming.check_id(id)?;
        incoming.decode(Some(id))
    });
    message.map_err(|problem| McpHttpError::UnexpectedServerResponse(problem.into()))
}

/// Reads the response to a request from an event stream.
async fn read_stream(response: Response, id: &RequestId) -> Result<ServerJsonRpcMessage, McpHttpError> {
    let message = EventReader::new(response, Some(id.clone())).response().await;
    message.ok_or_else(|| McpHttpError::UnexpectedServerResponse("the stream ended without the response".into()))
}

/// Reads the response to `server/discover`. If the server does not support the request, returns an error after which
/// the library sends `initialize`.
async fn read_discover_response(
    id: RequestId,
    logins: watch::Receiver<usize>,
    response_future: impl Future<Output = Result<Response, TransportError>> + Send,
) -> Result<StreamableHttpPostResponse, McpHttpError> {
    let exchange = async {
        // The library waits for only 10 s. Therefore, a login ends this attempt, and the session is started again after
        // it.
        let response = run_until_login(logins, response_future).await.unwrap_or(Err(TransportError::LoginInProgress));
        let response = response.map_err(McpHttpError::Client)?;
        match response.status() {
            200..=299 => {}
            400 | 402 | 404..=428 | 430..=499 | 500 | 501 => return Ok(read_discover_error(response, &id).await),
            _ => return Err(McpHttpError::Client(TransportError::from_response(response).await)),
        }
        let message = match media_type(&response) {
            EVENT_STREAM => read_stream(response, &id).await,
            _ => read_json(response, &id).await,
        };
        Ok(match message {
            Ok(JsonRpcMessage::Response(response)) if !matches!(response.result, ServerResult::DiscoverResult(_)) => {
                discover_unsupported(&id)
            }
            Ok(message) => message,
            Err(_) => discover_unsupported(&id),
        })
    };
    let message = tokio::time::timeout(DISCOVER_TIMEOUT, exchange).await;
    Ok(StreamableHttpPostResponse::Json(message.unwrap_or_else(|_| Ok(discover_unsupported(&id)))?, None))
}

/// Returns the error of the server, which distinguishes an unsupported version from an unknown request.
async fn read_discover_error(response: Response, id: &RequestId) -> ServerJsonRpcMessage {
    let body = response.bytes(MAX_ERROR_BYTES).await.unwrap_or_default();
    match IncomingMessage::parse(&body).and_then(|incoming| incoming.decode(Some(id))) {
        Ok(error @ JsonRpcMessage::Error(_)) => error,
        _ => discover_unsupported(id),
    }
}

fn discover_unsupported(id: &RequestId) -> ServerJsonRpcMessage {
    let error = ErrorData::invalid_request("the server does not support `server/discover`", None);
    ServerJsonRpcMessage::error(error, Some(id.clone()))
}
