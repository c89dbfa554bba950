//! Messages of a server, read within bounds.
//!
//! The library decodes a message as a whole: one tool that is not valid would hide all others, and a response that is not
//! valid would be skipped. Here, such a tool is removed from its list and named, and such a response becomes an error.

use rmcp::model::{ErrorCode, ErrorData, RequestId, ServerJsonRpcMessage};
use serde_json::{Map, Value, json};

use super::error::shown;

/// The maximum estimated memory of a decoded message, in bytes.
const MAX_COST: usize = 16 * 1024 * 1024;
/// The estimated memory of an object, and of any other value, in bytes. Most of an object is its node of a `BTreeMap`.
const OBJECT_COST: usize = 640;
const VALUE_COST: usize = 32;
/// The maximum nesting. No message of the protocol comes near it, and the decoder supports 128.
const MAX_DEPTH: usize = 100;
/// The maximum length of the name of a tool, in bytes.
const MAX_NAME_BYTES: usize = 512;
/// The member of `_meta` and of `data` that this module adds. It is removed from what a server sends.
const OURS: &str = "agent-gateway";
/// The maximum number of removed tools of a page that are named.
const MAX_NAMED: usize = 100;

/// The reason why a message cannot be used.
pub(super) type Problem = &'static str;

const NO_MESSAGE: Problem = "the response is not an MCP message";
const TOO_COMPLEX: Problem = "the response has too many values or is nested too deeply";
const OTHER_ID: Problem = "the response has the id of another request";

/// A message of a server.
pub(super) struct Incoming(Value);

impl Incoming {
    /// Parses a message.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Problem> {
        if !is_bounded(text) {
            return Err(TOO_COMPLEX);
        }
        // The decoder's error message may show the response.
        let mut value: Value = serde_json::from_slice(text).map_err(|_| NO_MESSAGE)?;
        let Some(message) = value.as_object_mut() else { return Err(NO_MESSAGE) };
        clean(message);
        Ok(Self(value))
    }

    /// Returns true if this is a response, not a request or a notification.
    pub(super) fn is_response(&self) -> bool {
        self.0.get("method").is_none()
    }

    /// Returns an error if this is not a response, or is the response to another request. Servers also send numbers as text.
    pub(super) fn check_id(&self, id: &RequestId) -> Result<(), Problem> {
        if !self.is_response() || (self.0.get("result").is_none() && self.0.get("error").is_none()) {
            return Err(NO_MESSAGE);
        }
        let (expected, received) = (id.to_string(), self.0.get("id"));
        let is_same = match received {
            Some(Value::String(received)) => *received == expected,
            Some(Value::Number(received)) => received.to_string() == expected,
            // An error without an id concerns a request that the server could not read.
            Some(Value::Null) | None => self.0.get("error").is_some(),
            Some(_) => false,
        };
        if is_same { Ok(()) } else { Err(OTHER_ID) }
    }

    /// Decodes the message. A response gets the id of its request, which may have been sent as text.
    pub(super) fn decode(mut self, id: Option<&RequestId>) -> Result<ServerJsonRpcMessage, Problem> {
        self.stamp(id);
        serde_json::from_value(self.0).map_err(|_| NO_MESSAGE)
    }

    /// Returns the message as JSON that the library decodes.
    pub(super) fn into_json(mut self, id: Option<&RequestId>) -> Result<String, Problem> {
        self.stamp(id);
        let json = self.0.to_string();
        drop(self);
        match serde_json::from_str::<ServerJsonRpcMessage>(&json) {
            Ok(_) => Ok(json),
            Err(_) => Err(NO_MESSAGE),
        }
    }

    fn stamp(&mut self, id: Option<&RequestId>) {
        if let (true, Some(RequestId::Number(id))) = (self.is_response(), id) {
            self.0["id"] = Value::from(*id);
        }
    }
}

/// Returns an error response to `id` that stands for a response that cannot be used.
pub(super) fn substitute(id: RequestId, problem: &str) -> ServerJsonRpcMessage {
    let data = json!({ OURS: "protocol" });
    let error = ErrorData::new(ErrorCode::INTERNAL_ERROR, problem.to_owned(), Some(data));
    ServerJsonRpcMessage::error(error, Some(id))
}

/// Returns true if the error is a [`substitute`].
pub(crate) fn is_substitute(error: &ErrorData) -> bool {
    error.data.as_ref().is_some_and(|data| data.get(OURS).is_some())
}

/// The tools that were removed from a page: their names, and the problem of each.
#[derive(Default)]
pub(crate) struct Removed(pub(crate) Vec<(String, String)>);

impl Removed {
    /// Reads the removed tools of a page. `is_listed` returns true for the tools that the library left in it.
    pub(crate) fn of(meta: Option<&Map<String, Value>>, is_listed: impl Fn(&str) -> bool) -> Self {
        let Some(ours) = meta.and_then(|meta| meta.get(OURS)) else { return Self::default() };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pairs = ours["removed"].as_array().into_iter().flatten();
        let mut removed: Vec<_> = pairs.map(|pair| (text(&pair[0]), text(&pair[1]))).collect();
        let names = ours["names"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let dropped = names.filter(|name| !is_listed(name)).take(MAX_NAMED);
        removed.extend(dropped.map(|name| (name.to_owned(), "its `x-mcp-header` is not valid".to_owned())));
        Self(removed)
    }
}

/// Removes our own member from a message, and invalid tools from a list of tools.
fn clean(message: &mut Map<String, Value>) {
    if let Some(data) = message.get_mut("error").and_then(|error| error.get_mut("data")).and_then(Value::as_object_mut)
    {
        data.remove(OURS);
    }
    let Some(result) = message.get_mut("result").and_then(Value::as_object_mut) else { return };
    if let Some(meta) = result.get_mut("_meta").and_then(Value::as_object_mut) {
        meta.remove(OURS);
    }
    if let Some(Value::Array(tools)) = result.get_mut("tools") {
        let ours = sort_out(tools);
        if let Some(ours) = ours {
            let meta = result.entry("_meta").or_insert_with(|| json!({}));
            if !meta.is_object() {
                *meta = json!({});
            }
            meta[OURS] = ours;
        }
    }
    // The empty cursor of servers that mean the end.
    if result.get("nextCursor").is_some_and(|cursor| cursor == "") {
        result.remove("nextCursor");
    }
}

/// Removes invalid tools. Returns their names, and the names of the tools that the library may remove.
fn sort_out(tools: &mut Vec<Value>) -> Option<Value> {
    let mut removed = Vec::new();
    let mut at = 0;
    tools.retain(|tool| {
        at += 1;
        let Some(problem) = flaw(tool) else { return true };
        if removed.len() < MAX_NAMED {
            let name = tool.get("name").and_then(Value::as_str).map(shown).filter(|name| !name.is_empty());
            removed.push(json!([name.unwrap_or_else(|| format!("number {at}")), problem]));
        }
        false
    });
    let annotated = tools.iter().filter(|tool| tool["inputSchema"].to_string().contains("x-mcp-header"));
    let names: Vec<_> = annotated.map(|tool| tool["name"].clone()).collect();
    (!removed.is_empty() || !names.is_empty()).then(|| json!({ "removed": removed, "names": names }))
}

/// Returns the problem of an invalid tool.
fn flaw(tool: &Value) -> Option<String> {
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
    let of_kind = |field: &str, kind: &'static str, is: fn(&Value) -> bool| match tool.get(field) {
        Some(value) if !value.is_null() && !is(value) => Some(format!("its `{field}` is not {kind}")),
        _ => None,
    };
    if !tool.get("inputSchema").is_some_and(Value::is_object) {
        return Some("its `inputSchema` is missing or not an object".to_owned());
    }
    of_kind("outputSchema", "an object", Value::is_object)
        .or_else(|| of_kind("description", "a string", Value::is_string))
        .or_else(|| of_kind("title", "a string", Value::is_string))
        .or_else(|| wrong_hint(tool))
        .or_else(|| {
            let decoded = serde_json::from_value::<rmcp::model::Tool>(tool.clone());
            decoded.err().map(|_| "it does not match the schema of MCP".to_owned())
        })
}

/// Returns the annotation that is not valid.
fn wrong_hint(tool: &Value) -> Option<String> {
    let annotations = match tool.get("annotations")? {
        Value::Null => return None,
        Value::Object(annotations) => annotations,
        _ => return Some("its `annotations` are not an object".to_owned()),
    };
    let hints = ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"].into_iter();
    let is_wrong = |hint: &&str| annotations.get(*hint).is_some_and(|value| !value.is_boolean() && !value.is_null());
    hints.into_iter().find(is_wrong).map(|hint| format!("its `{hint}` is not a boolean"))
}

/// Returns true if the decoded document stays within the limits. It counts the structure without decoding it.
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
    fn members_of_ours_are_removed_from_what_a_server_sends() {
        let error =
            json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": 1, "message": "m", "data": { OURS: "protocol" } } });
        let message = Incoming::parse(error.to_string().as_bytes()).ok().unwrap();
        let Ok(JsonRpcMessage::Error(error)) = message.decode(None) else { panic!("no error") };
        assert!(!is_substitute(&error.error));
        let JsonRpcMessage::Error(error) = substitute(RequestId::Number(1), "x") else { panic!("no error") };
        assert!(is_substitute(&error.error));
    }

    #[test]
    fn each_flaw_of_a_tool_is_described() {
        let with = |field: &str, value: Value| {
            let mut tool = json!({ "name": "good", "inputSchema": {} });
            tool[field] = value;
            flaw(&tool)
        };
        assert_eq!(with("title", json!("A title")), None);
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
            let flaw = with(field, value.clone()).unwrap_or_else(|| panic!("{field}: {value}"));
            assert!(flaw.contains(field), "{flaw}");
        }
        assert!(with("annotations", json!({ "readOnlyHint": "yes" })).unwrap().contains("readOnlyHint"));
        assert!(with("icons", json!(3)).unwrap().contains("schema of MCP"));
    }
}
