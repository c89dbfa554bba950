//! A session with one server, for one principal.

mod listener;
mod pool;

use rmcp::RoleClient;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotificationParam, ClientRequest, JsonObject, ListToolsRequest,
    PaginatedRequestParams, RequestId, ServerResult,
};
use rmcp::service::{Peer, PeerRequestOptions, RunningService, serve_client};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use tokio::runtime::Handle;

use crate::error::GatewayError;
use crate::progress::OnProgress;
use crate::result::ToolResult;
use crate::server::Server;
use crate::tool::Tool;
use crate::transport::{Correlation, Transport};

pub(crate) use listener::Listener;
pub(crate) use pool::Sessions;

/// The maximum number of pages of a tool list. A list with more pages is treated as endless.
const MAX_PAGES: usize = 1000;

/// An established session. Dropping it ends the session on the server.
pub(crate) struct Session {
    server: Server,
    service: RunningService<RoleClient, Listener>,
}

impl Session {
    /// Starts a session. The library restarts it once if the server no longer knows it.
    pub(crate) async fn begin(server: &Server, http: Transport, listener: Listener) -> Result<Self, GatewayError> {
        let config = StreamableHttpClientTransportConfig::with_uri(server.url().as_str());
        let transport = StreamableHttpClientTransport::with_client(http, config);
        let begun = serve_client(listener, transport).await;
        let service = begun.map_err(|error| GatewayError::beginning(server, error))?;
        Ok(Self { server: server.clone(), service })
    }

    /// Returns true if the session has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.service.is_closed() || self.service.peer().is_transport_closed()
    }

    /// Returns all tools of the server.
    pub(crate) async fn tools(&self, correlation: &Correlation) -> Result<Vec<Tool>, GatewayError> {
        let (mut tools, mut cursor) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let page = PaginatedRequestParams::default().with_cursor(cursor);
            let mut request = ListToolsRequest { params: Some(page), ..Default::default() };
            request.extensions.insert(correlation.clone());
            let ServerResult::ListToolsResult(page) = self.answer(request.into(), None).await? else {
                return Err(GatewayError::protocol(&self.server, "unexpected response to `tools/list`"));
            };
            tools.extend(page.tools.into_iter().map(|tool| Tool::new(self.server.clone(), tool)));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(tools);
            }
        }
        Err(GatewayError::protocol(&self.server, "its tool list does not end"))
    }

    /// Calls a tool.
    pub(crate) async fn call(
        &self,
        tool: &str,
        arguments: JsonObject,
        correlation: Correlation,
        progress: Option<OnProgress>,
    ) -> Result<ToolResult, GatewayError> {
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let mut request = CallToolRequest::new(params);
        request.extensions.insert(correlation);
        match ToolResult::read(self.answer(request.into(), progress).await?) {
            Some((result, false)) => Ok(result),
            Some((result, true)) => Err(GatewayError::tool(&self.server, tool, result)),
            None => Err(GatewayError::protocol(&self.server, "unexpected response to `tools/call`")),
        }
    }

    /// Returns the response to a request. Dropping the future cancels the request.
    async fn answer(&self, request: ClientRequest, progress: Option<OnProgress>) -> Result<ServerResult, GatewayError> {
        let failed = |error| GatewayError::service(&self.server, error);
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
