//! A session with one server, for one principal.

mod changes;
mod lifecycle;
mod listener;
mod pool;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotificationParam, ClientRequest, InputRequiredResult, JsonObject,
    ListToolsRequest, PaginatedRequestParams, RequestId, ServerResult,
};
use rmcp::service::{Peer, PeerRequestOptions, RunningService, serve_client_with_lifecycle};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::ExponentialBackoff;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceError};
use tokio::runtime::Handle;

use crate::error::GatewayError;
use crate::listing::{ToolList, ToolListBuilder};
use crate::progress::OnProgress;
use crate::result::ToolResult;
use crate::server::Server;
use crate::transport::{CorrelationId, Transport};

use changes::ChangeSubscription;
use lifecycle::Lifecycle;
pub(crate) use listener::Listener;
pub(crate) use pool::Sessions;

/// The maximum number of attempts to resume a stream.
const MAX_RESUMPTIONS: usize = 5;
/// The maximum number of times that a stateless server can request the repetition of a call.
const MAX_REPETITIONS: usize = 10;
/// The maximum delay before an attempt to resume a stream.
const MAX_RESUMPTION_DELAY: Duration = Duration::from_secs(30);

/// An established session. Dropping it ends the session on the server.
pub(crate) struct Session {
    server: Server,
    service: RunningService<RoleClient, Listener>,
    lifecycle: Lifecycle,
    /// True if the server seems to have changed its lifecycle.
    is_outdated: AtomicBool,
    _change_subscription: Option<ChangeSubscription>,
}

impl Session {
    /// Starts a session. If the server forgets the session later, the library restarts it once.
    ///
    /// `known_lifecycle` is the lifecycle of earlier sessions with this server.
    pub(crate) async fn start(
        server: &Server,
        http: Transport,
        listener: Listener,
        known_lifecycle: Option<Lifecycle>,
    ) -> Result<Self, GatewayError> {
        let mut config = StreamableHttpClientTransportConfig::with_uri(server.url().as_str());
        let mut delays = ExponentialBackoff::default();
        (delays.max_times, delays.max_delay) = (Some(MAX_RESUMPTIONS), Some(MAX_RESUMPTION_DELAY));
        config.retry_config = Arc::new(delays);
        let transport = StreamableHttpClientTransport::with_client(http, config);
        let mode = Lifecycle::start_mode(known_lifecycle);
        let invalidation = listener.invalidation();
        let started = serve_client_with_lifecycle(listener, transport, mode).await;
        let service = started.map_err(|error| GatewayError::session_start(server, error))?;
        let lifecycle = Lifecycle::negotiated(service.peer());
        let change_subscription = ChangeSubscription::start(lifecycle, service.peer(), invalidation);
        Ok(Self {
            server: server.clone(),
            service,
            lifecycle,
            is_outdated: AtomicBool::new(false),
            _change_subscription: change_subscription,
        })
    }

    /// Returns the lifecycle that the server supports.
    pub(crate) fn lifecycle(&self) -> Lifecycle {
        self.lifecycle
    }

    /// Returns true if the session has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.is_outdated() || self.service.is_closed() || self.service.peer().is_transport_closed()
    }

    /// Returns true if the server seems to have changed its lifecycle since the start of the session.
    pub(crate) fn is_outdated(&self) -> bool {
        self.is_outdated.load(Ordering::Acquire)
    }

    /// Returns all tools of the server.
    pub(crate) async fn tools(&self, correlation: &CorrelationId) -> Result<ToolList, GatewayError> {
        let (mut builder, mut cursor) = (ToolListBuilder::new(&self.server), None);
        loop {
            let page = PaginatedRequestParams::default().with_cursor(cursor);
            let mut request = ListToolsRequest { params: Some(page), ..Default::default() };
            request.extensions.insert(correlation.clone());
            let ServerResult::ListToolsResult(page) = self.send_request(request.into(), None).await? else {
                return Err(GatewayError::protocol(&self.server, "unexpected response to `tools/list`"));
            };
            cursor = builder.add_page(page);
            if cursor.is_none() {
                return Ok(builder.build());
            }
        }
    }

    /// Calls a tool.
    pub(crate) async fn call(
        &self,
        tool: &str,
        arguments: JsonObject,
        correlation: CorrelationId,
        progress: Option<OnProgress>,
    ) -> Result<ToolResult, GatewayError> {
        let mut params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        for _ in 0..=MAX_REPETITIONS {
            let mut request = CallToolRequest::new(params.clone());
            request.extensions.insert(correlation.clone());
            let response = self.send_request(request.into(), progress.clone()).await?;
            if let ServerResult::InputRequiredResult(input_required) = &response {
                params.request_state = Some(self.request_state(input_required)?);
                continue;
            }
            return match ToolResult::from_response(response) {
                Some((result, false)) => Ok(result),
                Some((result, true)) => Err(GatewayError::tool(&self.server, tool, result)),
                None => Err(GatewayError::protocol(&self.server, "unexpected response to `tools/call`")),
            };
        }
        Err(GatewayError::protocol(&self.server, "the tool requests the repetition of its call again and again"))
    }

    /// Returns the state for the repetition of a call. Fails if the server requires input of the user.
    fn request_state(&self, input_required: &InputRequiredResult) -> Result<String, GatewayError> {
        match &input_required.request_state {
            Some(state) if input_required.input_requests.as_ref().is_none_or(BTreeMap::is_empty) => Ok(state.clone()),
            _ => Err(GatewayError::protocol(&self.server, "the tool requires input, which this client does not offer")),
        }
    }

    /// Sends a request, and returns the response. Dropping the future cancels the request.
    async fn send_request(
        &self,
        request: ClientRequest,
        progress: Option<OnProgress>,
    ) -> Result<ServerResult, GatewayError> {
        let map_error = |error| self.map_request_error(error);
        let peer = self.service.peer();
        // Notifications wait until the progress token of the request is registered.
        let listener = self.service.service();
        let send_guard = listener.lock_sending().await;
        let handle =
            peer.send_request_with_option(request, PeerRequestOptions::no_options()).await.map_err(map_error)?;
        let _subscription = progress.map(|progress| listener.subscribe(handle.progress_token.clone(), progress));
        drop(send_guard);
        let mut cancel_on_drop = CancelOnDrop { peer: peer.clone(), id: Some(handle.id.clone()) };
        let response = handle.await_response().await;
        cancel_on_drop.id = None;
        response.map_err(map_error)
    }

    /// Maps an error of a request. Marks the session as outdated if the error shows that the server changed its
    /// lifecycle.
    fn map_request_error(&self, error: ServiceError) -> GatewayError {
        let error = GatewayError::service(&self.server, error);
        if self.lifecycle.is_contradicted_by(&error) {
            self.is_outdated.store(true, Ordering::Release);
        }
        error
    }
}

/// A guard that sends the cancellation of a request to the server when it is dropped.
struct CancelOnDrop {
    peer: Peer<RoleClient>,
    /// The request to cancel; `None` after its response.
    id: Option<RequestId>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let (Some(id), Ok(runtime)) = (self.id.take(), Handle::try_current()) {
            let peer = self.peer.clone();
            runtime.spawn(async move {
                let cancellation = CancelledNotificationParam::new(Some(id), Some("canceled by the caller".to_owned()));
                // If the session has ended, no cancellation is needed.
                let _ = peer.notify_cancelled(cancellation).await;
            });
        }
    }
}
