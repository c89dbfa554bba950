use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

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
#[must_use = "nothing is called before it is awaited"]
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

    /// Sets a callback for progress. Progress that the tool reports right before its end may be missed.
    pub fn with_progress(mut self, progress: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// Sets the time limit of the call, at most the limit of the gateway.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(self.timeout);
        self
    }

    /// Sets the correlation id that gateway and server log (`x-correlation-id`). The default is a random UUID.
    pub fn with_correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation = Correlation(id.into());
        self
    }

    async fn run(self) -> Result<ToolResult, GatewayError> {
        let Self { gateway, tool, principal, arguments, correlation, progress, timeout } = self;
        tool.check(&arguments)?;
        let key = SessionKey::new(tool.server(), principal);
        let calling = async {
            let session = gateway.sessions.session(&key, principal).await?;
            session.call(tool.name(), arguments, correlation, progress).await
        };
        let result = tokio::time::timeout(timeout, calling).await;
        result.unwrap_or_else(|_| Err(GatewayError::timeout(tool.server(), timeout)))
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
