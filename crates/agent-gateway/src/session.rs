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
use crate::listing::{Listing, ToolList};
use crate::progress::OnProgress;
use crate::result::ToolResult;
use crate::server::Server;
use crate::transport::{Correlation, Transport};

use changes::Changes;
use lifecycle::Lifecycle;
pub(crate) use listener::Listener;
pub(crate) use pool::Sessions;

/// The maximum number of attempts to resume a stream.
const MAX_RESUMPTIONS: usize = 5;
/// The maximum number of times that a stateless server may have a call repeated.
const MAX_REPETITIONS: usize = 10;
/// The maximum delay between two of them.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// An established session. Dropping it ends the session on the server.
pub(crate) struct Session {
    server: Server,
    service: RunningService<RoleClient, Listener>,
    lifecycle: Lifecycle,
    /// True if the server seems to have changed its lifecycle.
    is_outdated: AtomicBool,
    _changes: Option<Changes>,
}

impl Session {
    /// Starts a session. The library restarts it once if the server no longer knows it.
    ///
    /// `known` is the lifecycle of earlier sessions with this server.
    pub(crate) async fn begin(
        server: &Server,
        http: Transport,
        listener: Listener,
        known: Option<Lifecycle>,
    ) -> Result<Self, GatewayError> {
        let mut config = StreamableHttpClientTransportConfig::with_uri(server.url().as_str());
        let mut delays = ExponentialBackoff::default();
        (delays.max_times, delays.max_delay) = (Some(MAX_RESUMPTIONS), Some(MAX_DELAY));
        config.retry_config = Arc::new(delays);
        let transport = StreamableHttpClientTransport::with_client(http, config);
        let mode = Lifecycle::mode(known);
        let changes = listener.changes();
        let begun = serve_client_with_lifecycle(listener, transport, mode).await;
        let service = begun.map_err(|error| GatewayError::beginning(server, error))?;
        let lifecycle = Lifecycle::of(service.peer());
        let changes = Changes::watch(lifecycle, service.peer(), changes);
        Ok(Self { server: server.clone(), service, lifecycle, is_outdated: AtomicBool::new(false), _changes: changes })
    }

    /// Returns the lifecycle that the server supports.
    pub(crate) fn lifecycle(&self) -> Lifecycle {
        self.lifecycle
    }

    /// Returns true if the session has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.is_outdated() || self.service.is_closed() || self.service.peer().is_transport_closed()
    }

    /// Returns true if the server seems to have changed its lifecycle since the start of the session.
    pub(crate) fn is_outdated(&self) -> bool {
        self.is_outdated.load(Ordering::Acquire)
    }

    /// Returns all tools of the server.
    pub(crate) async fn tools(&self, correlation: &Correlation) -> Result<ToolList, GatewayError> {
        let (mut listing, mut cursor) = (Listing::new(&self.server), None);
        loop {
            let page = PaginatedRequestParams::default().with_cursor(cursor);
            let mut request = ListToolsRequest { params: Some(page), ..Default::default() };
            request.extensions.insert(correlation.clone());
            let ServerResult::ListToolsResult(page) = self.answer(request.into(), None).await? else {
                return Err(GatewayError::protocol(&self.server, "unexpected response to `tools/list`"));
            };
            cursor = listing.add(page);
            if cursor.is_none() {
                return Ok(listing.end());
            }
        }
    }

    /// Calls a tool.
    pub(crate) async fn call(
        &self,
        tool: &str,
        arguments: JsonObject,
        correlation: Correlation,
        progress: Option<OnProgress>,
    ) -> Result<ToolResult, GatewayError> {
        let mut params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        for _ in 0..=MAX_REPETITIONS {
            let mut request = CallToolRequest::new(params.clone());
            request.extensions.insert(correlation.clone());
            let answer = self.answer(request.into(), progress.clone()).await?;
            if let ServerResult::InputRequiredResult(wanted) = &answer {
                params.request_state = Some(self.state_of(wanted)?);
                continue;
            }
            return match ToolResult::read(answer) {
                Some((result, false)) => Ok(result),
                Some((result, true)) => Err(GatewayError::tool(&self.server, tool, result)),
                None => Err(GatewayError::protocol(&self.server, "unexpected response to `tools/call`")),
            };
        }
        Err(GatewayError::protocol(&self.server, "the tool requests the repetition of its call again and again"))
    }

    /// Returns the state with which a call is repeated. Servers receive no input of users.
    fn state_of(&self, wanted: &InputRequiredResult) -> Result<String, GatewayError> {
        match &wanted.request_state {
            Some(state) if wanted.input_requests.as_ref().is_none_or(BTreeMap::is_empty) => Ok(state.clone()),
            _ => Err(GatewayError::protocol(&self.server, "the tool requires input, which this client does not offer")),
        }
    }

    /// Returns the response to a request. Dropping the future cancels the request.
    async fn answer(&self, request: ClientRequest, progress: Option<OnProgress>) -> Result<ServerResult, GatewayError> {
        let failed = |error| self.failed(error);
        let peer = self.service.peer();
        // Notifications wait until the progress token of the request is registered.
        let listener = self.service.service();
        let sending = listener.sending().await;
        let handle = peer.send_request_with_option(request, PeerRequestOptions::no_options()).await.map_err(failed)?;
        let _subscription = progress.map(|progress| listener.subscribe(handle.progress_token.clone(), progress));
        drop(sending);
        let mut taken_back = TakenBack { peer: peer.clone(), id: Some(handle.id.clone()) };
        let answer = handle.await_response().await;
        taken_back.id = None;
        answer.map_err(failed)
    }

    /// Maps an error of a request, and records whether it shows that the server changed its lifecycle.
    fn failed(&self, error: ServiceError) -> GatewayError {
        let error = GatewayError::service(&self.server, error);
        if self.lifecycle.is_contradicted_by(&error) {
            self.is_outdated.store(true, Ordering::Release);
        }
        error
    }
}

/// A guard that sends the cancellation of a request to the server when it is dropped.
struct TakenBack {
    peer: Peer<RoleClient>,
    /// The request to cancel; `None` after its response.
    id: Option<RequestId>,
}

impl Drop for TakenBack {
    fn drop(&mut self) {
        if let (Some(id), Ok(runtime)) = (self.id.take(), Handle::try_current()) {
            let peer = self.peer.clone();
            runtime.spawn(async move {
                let nobody_waits = CancelledNotificationParam::new(Some(id), Some("canceled by the caller".to_owned()));
                // If the session is over, no cancellation is needed.
                let _ = peer.notify_cancelled(nobody_waits).await;
            });
        }
    }
}
