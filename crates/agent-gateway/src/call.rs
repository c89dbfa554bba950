use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use crate::gateway::Gateway;
use crate::session::OnProgress;
use crate::toolbox::Line;
use crate::transport::Correlation;
use crate::{GatewayError, Principal, Tool, ToolResult};

/// How far a call is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// How much is done, in a unit of the tool's; it grows.
    pub done: f64,
    /// How much there is to do, if the tool knows.
    pub total: Option<f64>,
    /// What the tool says of it.
    pub message: Option<String>,
}

/// A call that begins when it is awaited: see [`Gateway::call_tool`]. The server is told if the future is dropped
/// before there is a result.
#[must_use = "nothing is called before it is awaited"]
pub struct ToolCall<'a> {
    gateway: &'a Gateway,
    tool: &'a Tool,
    principal: &'a Principal,
    arguments: Map<String, Value>,
    correlation: Correlation,
    progress: Option<OnProgress>,
    timeout: Duration,
}

impl<'a> ToolCall<'a> {
    pub(crate) fn new(
        gateway: &'a Gateway,
        tool: &'a Tool,
        principal: &'a Principal,
        arguments: Map<String, Value>,
    ) -> Self {
        let (correlation, timeout) = (Correlation::random(), gateway.call_timeout());
        Self { gateway, tool, principal, arguments, correlation, progress: None, timeout }
    }

    /// Hears how far it is. What is said right before the end may come too late to be heard.
    pub fn with_progress(mut self, progress: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// How long it may take, in place of what the gateway was set up with, and no longer than that.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(self.timeout);
        self
    }

    /// What the request is found by in the records of gateway and server (`x-correlation-id`); a random UUID unless
    /// something is said.
    pub fn with_correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation = Correlation(id.into());
        self
    }

    async fn run(self) -> Result<ToolResult, GatewayError> {
        let Self { gateway, tool, principal, arguments, correlation, progress, timeout } = self;
        tool.check(&arguments)?;
        let line = Line::new(tool.server(), principal);
        let calling = async {
            let session = gateway.sessions().session(&line, principal).await?;
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
