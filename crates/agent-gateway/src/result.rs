use std::fmt;

use rmcp::model::{CustomResult, ServerResult};
use serde_json::{Map, Value};

/// The complete result of a tool. `Debug` shows the kinds of content only, because the content may be confidential.
#[derive(Clone, PartialEq)]
pub struct ToolResult {
    content: Vec<Content>,
    structured: Option<Value>,
    meta: Option<Map<String, Value>>,
}

/// A block of a result: text, an image, sound, a resource or a link to one – or what a newer server has beside them.
#[derive(Clone, PartialEq)]
pub struct Content(Value);

impl ToolResult {
    /// The result in an answer, and whether it is an error.
    pub(crate) fn read(answer: ServerResult) -> Option<(Self, bool)> {
        // What was read from JSON can be written as such. A block of a kind that the library does not know makes the
        // whole a custom result for it.
        let mut answer = match answer {
            ServerResult::CallToolResult(result) => serde_json::to_value(result).ok()?,
            ServerResult::CustomResult(CustomResult(answer)) => answer,
            _ => return None,
        };
        let mut take = |field: &str| answer.get_mut(field).map(Value::take);
        let Some(Value::Array(blocks)) = take("content") else { return None };
        let is_error = take("isError") == Some(Value::Bool(true));
        let (content, structured) = (blocks.into_iter().map(Content).collect(), take("structuredContent"));
        let meta = take("_meta").and_then(|meta| if let Value::Object(meta) = meta { Some(meta) } else { None });
        Some((Self { content, structured, meta }, is_error))
    }

    /// All blocks, in order.
    pub fn content(&self) -> &[Content] {
        &self.content
    }

    /// The result as data, if the tool has it so.
    pub fn structured(&self) -> Option<&Value> {
        self.structured.as_ref()
    }

    /// Returns the metadata that the server added to the result.
    pub fn meta(&self) -> Option<&Map<String, Value>> {
        self.meta.as_ref()
    }

    /// The texts among the blocks, one after the other on lines of their own.
    pub fn text(&self) -> String {
        self.content.iter().filter_map(Content::text).collect::<Vec<_>>().join("\n")
    }
}

impl Content {
    /// Returns the content type of MCP: `text`, `image`, `audio`, `resource` or `resource_link`.
    pub fn kind(&self) -> &str {
        self.field("type").unwrap_or_default()
    }

    /// The text of a block of text.
    pub fn text(&self) -> Option<&str> {
        self.field("text").filter(|_| self.kind() == "text")
    }

    /// The media type and the bytes, in base64, of an image or a sound.
    pub fn media(&self) -> Option<(&str, &str)> {
        Some((self.field("mimeType")?, self.field("data")?))
    }

    /// The block as it came.
    pub fn json(&self) -> &Value {
        &self.0
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }
}

impl fmt::Debug for ToolResult {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("ToolResult");
        shown.field("content", &self.content).field("is_structured", &self.structured.is_some()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind())
    }
}
