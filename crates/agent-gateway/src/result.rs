use std::fmt;

use rmcp::model::{CustomResult, ServerResult};
use serde_json::{Map, Value};

/// The complete result of a tool call (MCP, `CallToolResult`). `Debug` shows only the kinds of content, because the
/// content may be confidential.
#[derive(Clone, PartialEq)]
pub struct ToolResult {
    content: Vec<Content>,
    structured: Option<Value>,
    meta: Option<Map<String, Value>>,
}

/// A content block of a result: text, an image, audio, a resource, a resource link, or an unknown kind from a newer
/// server.
#[derive(Clone, PartialEq)]
pub struct Content(Value);

impl ToolResult {
    /// Reads a tool result from a response. Returns `None` if the response is not a tool result. The second value is
    /// true if the result is an error.
    pub(crate) fn from_response(response: ServerResult) -> Option<(Self, bool)> {
        // A result from JSON can be serialized again. If the library does not know the kind of a block, it returns the
        // whole result as a custom one.
        let mut response = match response {
            ServerResult::CallToolResult(result) => serde_json::to_value(result).ok()?,
            ServerResult::CustomResult(CustomResult(response)) => response,
            _ => return None,
        };
        let mut take = |field: &str| response.get_mut(field).map(Value::take);
        let Some(Value::Array(blocks)) = take("content") else { return None };
        let is_error = take("isError") == Some(Value::Bool(true));
        let (content, structured) = (blocks.into_iter().map(Content).collect(), take("structuredContent"));
        let meta = take("_meta").and_then(|meta| if let Value::Object(meta) = meta { Some(meta) } else { None });
        Some((Self { content, structured, meta }, is_error))
    }

    /// Returns all content blocks, in order.
    pub fn content(&self) -> &[Content] {
        &self.content
    }

    /// Returns the structured result (`structuredContent`), if any.
    pub fn structured(&self) -> Option<&Value> {
        self.structured.as_ref()
    }

    /// Returns the metadata that the server added to the result (`_meta`), if any.
    pub fn meta(&self) -> Option<&Map<String, Value>> {
        self.meta.as_ref()
    }

    /// Returns the texts of all text blocks, separated by newlines.
    pub fn text(&self) -> String {
        self.content.iter().filter_map(Content::text).collect::<Vec<_>>().join("\n")
    }
}

impl Content {
    /// Returns the type of the block in MCP, such as `text`, `image`, `audio`, `resource` or `resource_link`, or an
    /// empty string if the block has no type.
    pub fn kind(&self) -> &str {
        self.field("type").unwrap_or_default()
    }

    /// Returns the text of a text block, and `None` for other blocks.
    pub fn text(&self) -> Option<&str> {
        self.field("text").filter(|_| self.kind() == "text")
    }

    /// Returns the media type and the base64-encoded bytes of an image or audio block, and `None` for other blocks.
    pub fn media(&self) -> Option<(&str, &str)> {
        Some((self.field("mimeType")?, self.field("data")?))
    }

    /// Returns the block as received.
    pub fn json(&self) -> &Value {
        &self.0
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }
}

impl fmt::Debug for ToolResult {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug_struct = formatter.debug_struct("ToolResult");
        debug_struct
            .field("content", &self.content)
            .field("is_structured", &self.structured.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind())
    }
}
