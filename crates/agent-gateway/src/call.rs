use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use crate::authorization::timeout_without_logins;
use crate::core::Core;
use crate::error::GatewayError;
use crate::principal::Principal;
use crate::progress::{OnProgress, Progress};
use crate::result::ToolResult;
use crate::tool::Tool;
use crate::tool_cache::SessionKey;
use crate::transport::CorrelationId;

/// A call that starts when it is awaited: see [`Gateway::call_tool`](crate::Gateway::call_tool). Dropping the future
/// before there is a result sends a cancellation to the server.
#[must_use = "a tool call does nothing unless it is awaited"]
pub struct ToolCall<'a> {
    gateway: &'a Core,
    tool: &'a Tool,
    principal: &'a Principal,
    arguments: Map<String, Value>,
    correlation: CorrelationId,
    progress: Option<OnProgress>,
    timeout: Duration,
}

impl<'a> ToolCall<'a> {
    pub(crate) fn new(
        gateway: &'a Core,
        tool: &'a Tool,
        principal: &'a Principal,
        arguments: Map<String, Value>,
    ) -> Self {
        let (correlation, timeout) = (CorrelationId::random(), gateway.call_timeout);
        Self { gateway, tool, principal, arguments, correlation, progress: None, timeout }
    }

    /// Sets a callback for progress. Progress that the tool reports immediately before its result may be lost.
    pub fn with_progress(mut self, progress: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// Sets the time limit of the call. It can only lower the limit: a longer one has no effect. The time of logins
    /// does not count.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(self.timeout);
        self
    }

    /// Sets the correlation id (`x-correlation-id`). The gateway and the server write it to their logs. The default is
    /// a random UUID.
    pub fn with_correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation = CorrelationId(id.into());
        self
    }

    async fn run(self) -> Result<ToolResult, GatewayError> {
        let Self { gateway, tool, principal, arguments, correlation, progress, timeout } = self;
        if !tool.server().is_available_to(principal) {
            return Err(GatewayError::tenant(tool.server()));
        }
        tool.validate_arguments(&arguments)?;
        let key = SessionKey::new(tool.server(), principal);
        let call = async {
            let session = gateway.sessions.session(&key, principal).await?;
            session.call(tool.name(), arguments, correlation, progress).await
        };
        let logins = gateway.identities.logins().watch(tool.server().url(), &principal.token_request());
        let result = timeout_without_logins(timeout, logins, call).await;
        result.unwrap_or_else(|| Err(GatewayError::timeout(tool.server(), timeout)))
    }
}

impl<'a> IntoFuture for ToolCall<'a> {
    type Output = Result<ToolResult, GatewayError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for ToolCall<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug_struct = formatter.debug_struct("ToolCall");
        debug_struct.field("tool", &self.tool).field("principal", &self.principal).finish_non_exhaustive()
    }
}
