use std::fmt;

use rmcp::model::CallToolResult;
use serde_json::{Map, Value};

/// What a tool has returned: all of it. Its `Debug` shows of what kind, and no more: it may be nobody's business.
#[derive(Clone, PartialEq)]
pub struct ToolResult {
    content: Vec<Content>,
    structured: Option<Value>,
    meta: Option<Map<String, Value>>,
}

/// A block of a result: text, an image, sound, a resource or a link to one.
#[derive(Clone, PartialEq)]
pub struct Content(Value);

impl ToolResult {
    pub(crate) fn new(result: CallToolResult) -> Self {
        // What was read from JSON can be written as such.
        let json = |block| serde_json::to_value(block).unwrap_or_default();
        Self {
            content: result.content.into_iter().map(|block| Content(json(block))).collect(),
            structured: result.structured_content,
            meta: result.meta.and_then(|meta| match serde_json::to_value(meta) {
                Ok(Value::Object(meta)) => Some(meta),
                _ => None,
            }),
        }
    }

    /// All blocks, in order.
    pub fn content(&self) -> &[Content] {
        &self.content
    }

    /// The result as data, if the tool has it so.
    pub fn structured(&self) -> Option<&Value> {
        self.structured.as_ref()
    }

    /// What the server says beside the result.
    pub fn meta(&self) -> Option<&Map<String, Value>> {
        self.meta.as_ref()
    }

    /// The texts among the blocks, one after the other on lines of their own.
    pub fn text(&self) -> String {
        self.content.iter().filter_map(Content::text).collect::<Vec<_>>().join("\n")
    }
}

impl Content {
    /// What it is, as MCP spells it: `text`, `image`, `audio`, `resource`, `resource_link`.
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
