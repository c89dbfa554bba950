use std::error::Error;
use std::fmt;

use rmcp::model::{CallToolResult, ContentBlock};

use crate::guard;

/// The error of a tool, with a hint for the model that called it.
#[derive(Clone, Debug)]
pub(crate) struct ToolError {
    message: String,
    hint: Option<String>,
}

impl ToolError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the result for the client. It has no structured content: clients would validate the content against the
    /// schema of the tool even in an error.
    pub(crate) fn to_tool_result(&self) -> CallToolResult {
        let message = guard::redact_text(&self.message);
        let text = match &self.hint {
            Some(hint) => format!("{message}\nhint: {hint}"),
            None => message,
        };
        CallToolResult::error(vec![ContentBlock::text(text)])
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl<E: Error> From<E> for ToolError {
    fn from(error: E) -> Self {
        let (mut causes, mut source) = (vec![error.to_string()], error.source());
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        Self::new(causes.join(": "))
    }
}
