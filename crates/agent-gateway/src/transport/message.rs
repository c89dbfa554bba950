//! Messages of a server, with limits for their size.
//!
//! The library decodes a complete message: one invalid tool would hide all other tools of a list, and an invalid
//! response would be skipped. This module removes invalid tools from lists, and records their names. It replaces an
//! invalid response with an error.

use rmcp::model::{ErrorCode, ErrorData, RequestId, ServerJsonRpcMessage};
use serde_json::{Map, Value, json};

use super::error::sanitize;

/// The maximum estimated memory of a decoded message, in bytes.
const MAX_COST: usize = 16 * 1024 * 1024;
/// The estimated memory of an object, in bytes. Most of it is the node of the `BTreeMap`.
const OBJECT_COST: usize = 640;
/// The estimated memory of any other value, in bytes.
const VALUE_COST: usize = 32;
/// The maximum nesting. Messages of the protocol are far below it, and the decoder supports 128.
const MAX_DEPTH: usize = 100;
/// The maximum length of the name of a tool, in bytes.
const MAX_NAME_BYTES: usize = 512;
/// The member that this module adds to `_meta` and to the `data` of errors. It is removed from the messages of servers.
const OWN_MEMBER: &str = "agent-gateway";
/// The maximum number of removed tools of a page that are recorded.
const MAX_RECORDED_TOOLS: usize = 100;

/// The reason why a message cannot be used.
pub(super) type Problem = &'static str;

const NOT_A_MESSAGE: Problem = "the response is not an MCP message";
const TOO_COMPLEX: Problem = "the response has too many values or is nested too deeply";
const WRONG_ID: Problem = "the response has the id of another request";

/// A message of a server.
pub(super) struct IncomingMessage(Value);

impl IncomingMessage {
    /// Parses a message.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Problem> {
        if !is_bounded(text) {
            return Err(TOO_COMPLEX);
        }
        // The decoder's error message may show the response.
        let mut value: Value = serde_json::from_slice(text).map_err(|_| NOT_A_MESSAGE)?;
        let Some(message) = value.as_object_mut() else { return Err(NOT_A_MESSAGE) };
        sanitize_message(message);
        Ok(Self(value))
    }

    /// Returns true if this is a response, not a request or a notification.
    pub(super) fn is_response(&self) -> bool {
        self.0.get("method").is_none()
    }

    /// Returns an error if this is not a response, or is the response to another request. Accepts a number that the
    /// server sends as text.
    pub(super) fn check_id(&self, id: &RequestId) -> Result<(), Problem> {
        if !self.is_response() || (self.0.get("result").is_none() && self.0.get("error").is_none()) {
            return Err(NOT_A_MESSAGE);
        }
        let (expected, received) = (id.to_string(), self.0.get("id"));
        let is_same = match received {
            Some(Value::String(received)) => *received == expected,
            Some(Value::Number(received)) => received.to_string() == expected,
            // An error without an id concerns a request that the server could not read.
            Some(Value::Null) | None => self.0.get("error").is_some(),
            Some(_) => false,
        };
        if is_same { Ok(()) } else { Err(WRONG_ID) }
    }

    /// Decodes the message. If `id` is given, it replaces the id of a response, which the server may have sent as text.
    pub(super) fn decode(mut self, id: Option<&RequestId>) -> Result<ServerJsonRpcMessage, Problem> {
        self.set_response_id(id);
        serde_json::from_value(self.0).map_err(|_| NOT_A_MESSAGE)
    }

    /// Returns the message as JSON that the library decodes.
    pub(super) fn into_json(mut self, id: Option<&RequestId>) -> Result<String, Problem> {
        self.set_response_id(id);
        let json = self.0.to_string();
        drop(self);
        match serde_json::from_str::<ServerJsonRpcMessage>(&json) {
            Ok(_) => Ok(json),
            Err(_) => Err(NOT_A_MESSAGE),
        }
    }

    /// Sets the id of a response.
    fn set_response_id(&mut self, id: Option<&RequestId>) {
        if let (true, Some(RequestId::Number(id))) = (self.is_response(), id) {
            self.0["id"] = Value::from(*id);
        }
    }
}

/// Creates an error response to `id`. It replaces a response that cannot be used.
pub(super) fn replacement_error(id: RequestId, problem: &str) -> ServerJsonRpcMessage {
    let data = json!({ OWN_MEMBER: "protocol" });
    let error = ErrorData::new(ErrorCode::INTERNAL_ERROR, problem.to_owned(), Some(data));
    ServerJsonRpcMessage::error(error, Some(id))
}

/// Returns true if the error was created by [`replacement_error`].
pub(crate) fn is_replacement_error(error: &ErrorData) -> bool {
    error.data.as_ref().is_some_and(|data| data.get(OWN_MEMBER).is_some())
}

/// The names of the tools that were removed from a page, and the problem of each.
#[derive(Default)]
pub(crate) struct RemovedTools(pub(crate) Vec<(String, String)>);

impl RemovedTools {
    /// Returns the removed tools of a page: those that this module has recorded, and those that the library has
    /// removed. `is_listed` returns true for the tools that remain in the page.
    pub(crate) fn from_meta(meta: Option<&Map<String, Value>>, is_listed: impl Fn(&str) -> bool) -> Self {
        let Some(own_data) = meta.and_then(|meta| meta.get(OWN_MEMBER)) else { return Self::default() };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pairs = own_data["removed"].as_array().into_iter().flatten();
        let mut removed: Vec<_> = pairs.map(|pair| (text(&pair[0]), text(&pair[1]))).collect();
        let names = own_data["names"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let removed_by_library = names.filter(|name| !is_listed(name)).take(MAX_RECORDED_TOOLS);
        removed.extend(removed_by_library.map(|name| (name.to_owned(), "its `x-mcp-header` is not valid".to_owned())));
        Self(removed)
    }
}

/// Removes [`OWN_MEMBER`] from a message, and invalid tools from a list of tools.
fn sanitize_message(message: &mut Map<String, Value>) {
    if let Some(data) = message.get_mut("error").and_then(|error| error.get_mut("data")).and_then(Value::as_object_mut)
    {
        data.remove(OWN_MEMBER);
    }
    let Some(result) = message.get_mut("result").and_then(Value::as_object_mut) else { return };
    if let Some(meta) = result.get_mut("_meta").and_then(Value::as_object_mut) {
        meta.remove(OWN_MEMBER);
    }
    if let Some(Value::Array(tools)) = result.get_mut("tools") {
        let own_data = remove_invalid_tools(tools);
        if let Some(own_data) = own_data {
            let meta = result.entry("_meta").or_insert_with(|| json!({}));
            if !meta.is_object() {
                *meta = json!({});
            }
            meta[OWN_MEMBER] = own_data;
        }
    }
    // Some servers send an empty cursor at the end of a list.
    if result.get("nextCursor").is_some_and(|cursor| cursor == "") {
        result.remove("nextCursor");
    }
}

/// Removes invalid tools. Returns the removed tools, and the names of the tools that the library may remove.
fn remove_invalid_tools(tools: &mut Vec<Value>) -> Option<Value> {
    let mut removed = Vec::new();
    let mut number = 0;
    tools.retain(|tool| {
        number += 1;
        let Some(problem) = tool_problem(tool) else { return true };
        if removed.len() < MAX_RECORDED_TOOLS {
            let name = tool.get("name").and_then(Value::as_str).map(sanitize).filter(|name| !name.is_empty());
            removed.push(json!([name.unwrap_or_else(|| format!("number {number}")), problem]));
        }
        false
    });
    let annotated = tools.iter().filter(|tool| tool["inputSchema"].to_string().contains("x-mcp-header"));
    let names: Vec<_> = annotated.map(|tool| tool["name"].clone()).collect();
    (!removed.is_empty() || !names.is_empty()).then(|| json!({ "removed": removed, "names": names }))
}

/// Returns the problem of a tool, or `None` if the tool is valid.
fn tool_problem(tool: &Value) -> Option<String> {
    let Some(name) = tool.get("name") else { return Some("it has no `name`".to_owned()) };
    match name.as_str() {
        None => return Some("its `name` is not a string".to_owned()),
        Some("") => return Some("its `name` is empty".to_owned()),
        Some(name) if name.len() > MAX_NAME_BYTES => {
            return Some(format!("its `name` is longer than {MAX_NAME_BYTES} bytes"));
        }
        Some(name) if name.chars().any(char::is_control) => {
            return Some("its `name` contains control characters".to_owned());
        }
        Some(_) => {}
    }
    let type_problem = |field: &str, expected_type: &'static str, has_type: fn(&Value) -> bool| match tool.get(field) {
        Some(value) if !value.is_null() && !has_type(value) => Some(format!("its `{field}` is not {expected_type}")),
        _ => None,
    };
    if !tool.get("inputSchema").is_some_and(Value::is_object) {
        return Some("its `inputSchema` is missing or not an object".to_owned());
    }
    type_problem("outputSchema", "an object", Value::is_object)
        .or_else(|| type_problem("description", "a string", Value::is_string))
        .or_else(|| type_problem("title", "a string", Value::is_string))
        .or_else(|| annotation_problem(tool))
        .or_else(|| {
            let decoded = serde_json::from_value::<rmcp::model::Tool>(tool.clone());
            decoded.err().map(|_| "it does not match the schema of MCP".to_owned())
        })
}

/// Returns the problem of invalid annotations.
fn annotation_problem(tool: &Value) -> Option<String> {
    let annotations = match tool.get("annotations")? {
        Value::Null => return None,
        Value::Object(annotations) => annotations,
        _ => return Some("its `annotations` are not an object".to_owned()),
    };
    let hints = ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"].into_iter();
    let is_invalid = |hint: &&str| annotations.get(*hint).is_some_and(|value| !value.is_boolean() && !value.is_null());
    hints.into_iter().find(is_invalid).map(|hint| format!("its `{hint}` is not a boolean"))
}

/// Returns true if the decoded document stays within the limits. Counts its structure without decoding it.
pub(crate) fn is_bounded(text: &[u8]) -> bool {
    let (mut depth, mut cost, mut in_string, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                cost += if *byte == b'{' { OBJECT_COST } else { VALUE_COST };
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' | b':' => cost += VALUE_COST,
            _ => {}
        }
        if depth > MAX_DEPTH || cost > MAX_COST {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use rmcp::model::JsonRpcMessage;

    use super::*;

    #[test]
    fn structure_is_counted_outside_of_strings() {
        let text = |content: &str| json!({ "jsonrpc": "2.0", "id": 1, "result": { "text": content } }).to_string();
        assert!(is_bounded(text(&"{[,\\\"".repeat(1_000_000)).as_bytes()));
        assert!(!is_bounded("[".repeat(MAX_DEPTH + 1).as_bytes()));
        assert!(!is_bounded(format!("[{}]", "{},".repeat(MAX_COST / OBJECT_COST)).as_bytes()));
        assert!(is_bounded(format!("[{}]", "{},".repeat(5_000)).as_bytes()));
    }

    #[test]
    fn own_members_of_a_server_message_are_removed() {
        let error = json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": 1, "message": "m", "data": { OWN_MEMBER: "protocol" } } });
        let message = IncomingMessage::parse(error.to_string().as_bytes()).ok().unwrap();
        let Ok(JsonRpcMessage::Error(error)) = message.decode(None) else { panic!("no error") };
        assert!(!is_replacement_error(&error.error));
        let JsonRpcMessage::Error(error) = replacement_error(RequestId::Number(1), "x") else { panic!("no error") };
        assert!(is_replacement_error(&error.error));
    }

    #[test]
    fn each_problem_of_a_tool_is_described() {
        let problem_with = |field: &str, value: Value| {
            let mut tool = json!({ "name": "good", "inputSchema": {} });
            tool[field] = value;
            tool_problem(&tool)
        };
        assert_eq!(problem_with("title", json!("A title")), None);
        for (field, value) in [
            ("name", json!(7)),
            ("name", json!("")),
            ("name", json!("a\u{7}")),
            ("name", json!("a".repeat(600))),
            ("inputSchema", json!("text")),
            ("inputSchema", json!(null)),
            ("outputSchema", json!([])),
            ("description", json!(1)),
            ("title", json!({})),
            ("annotations", json!(true)),
        ] {
            let problem = problem_with(field, value.clone()).unwrap_or_else(|| panic!("{field}: {value}"));
            assert!(problem.contains(field), "{problem}");
        }
        assert!(problem_with("annotations", json!({ "readOnlyHint": "yes" })).unwrap().contains("readOnlyHint"));
        assert!(problem_with("icons", json!(3)).unwrap().contains("schema of MCP"));
    }
}
