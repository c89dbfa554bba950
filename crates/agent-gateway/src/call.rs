use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use crate::authorization::within;
use crate::core::Core;
use crate::error::GatewayError;
use crate::principal::Principal;
use crate::progress::{OnProgress, Progress};
use crate::result::ToolResult;
use crate::tool::Tool;
use crate::tool_cache::SessionKey;
use crate::transport::Correlation;

/// A call that starts when it is awaited: see [`Gateway::call_tool`](crate::Gateway::call_tool). Dropping the future
/// before there is a result sends a cancellation to the server.
#[must_use = "a tool call does nothing unless it is awaited"]
pub struct ToolCall<'a> {
    gateway: &'a Core,
    tool: &'a Tool,
    principal: &'a Principal,
    arguments: Map<String, Value>,
    correlation: Correlation,
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
        let (correlation, timeout) = (Correlation::random(), gateway.call_timeout);
        Self { gateway, tool, principal, arguments, correlation, progress: None, timeout }
    }

    /// Sets a callback for progress. Progress that the tool reports immediately before its result may be lost.
    pub fn with_progress(mut self, progress: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// Sets the time limit of the call. It cannot exceed the limit of the gateway or an earlier one. Logins do not count.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(self.timeout);
        self
    }

    /// Sets the correlation id (`x-correlation-id`), which the gateway and the server write to their logs. The default is a
    /// random UUID.
    pub fn with_correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation = Correlation(id.into());
        self
    }

    async fn run(self) -> Result<ToolResult, GatewayError> {
        let Self { gateway, tool, principal, arguments, correlation, progress, timeout } = self;
        if !tool.server().admits(principal) {
            return Err(GatewayError::tenant(tool.server()));
        }
        tool.check(&arguments)?;
        let key = SessionKey::new(tool.server(), principal);
        let calling = async {
            let session = gateway.sessions.session(&key, principal).await?;
            session.call(tool.name(), arguments, correlation, progress).await
        };
        let logins = gateway.identities.logins().of(tool.server().url(), &principal.token_request());
        let result = within(timeout, logins, calling).await;
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
        let mut shown = formatter.debug_struct("ToolCall");
        shown.field("tool", &self.tool).field("principal", &self.principal).finish_non_exhaustive()
    }
}
