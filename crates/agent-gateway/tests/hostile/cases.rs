//! A corpus of responses that violate the protocol or exceed a limit.

use std::io::Write;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::server::{ReceivedRequest, Reply};

/// All cases. The names of cases about the call of a tool begin with `call-`. All other cases are about the tool list.
pub(crate) const CASES: &[&str] = &[
    // The start: `server/discover` and `initialize`.
    "start-html",
    "start-batch",
    "start-null",
    "start-empty",
    "start-nothing-in-common",
    "start-other-id",
    "start-long-error",
    "start-no-result",
    "start-capabilities-text",
    "start-silent",
    "start-closed",
    "start-redirect",
    "start-unauthorized",
    "start-accepted",
    "start-endless-stream",
    "start-server-error",
    "start-discovers-wrong",
    // Event streams.
    "events-none",
    "events-cut",
    "events-other-id",
    "events-large",
    "events-endless-line",
    "events-endless-comments",
    "events-endless-pings",
    "events-request-only",
    "events-notifications",
    "events-batch",
    "events-not-utf8",
    "events-resume-forever",
    "events-other-types-only",
    // Cursors.
    "cursor-same",
    "cursor-alternates",
    "cursor-without-tools",
    "cursor-endless-tools",
    "cursor-large",
    "cursor-number",
    "cursor-same-page",
    // Schemas.
    "schema-missing",
    "schema-text",
    "schema-list",
    "schema-null",
    "schema-deep",
    "schema-output-list",
    "schema-hint",
    "schema-annotations",
    "schema-icons",
    "call-schema-loop",
    "call-schema-doubling",
    "call-schema-pattern",
    "call-schema-deep",
    // Sizes.
    "size-json",
    "size-gzip",
    "size-objects",
    "size-tools",
    "size-descriptions",
    "size-header",
    "size-shorter",
    "size-endless",
    "size-error",
    // Names.
    "name-empty",
    "name-control",
    "name-long",
    "name-number",
    "name-missing",
    "name-twice",
    "name-no-object",
    "name-list-no-array",
    // Calls.
    "call-null",
    "call-content-text",
    "call-no-content",
    "call-error",
    "call-events-none",
    "call-other-id",
    "call-needs-input",
    "call-large",
];

/// Returns the response of the server of a case.
pub(crate) fn reply(request: &ReceivedRequest<'_>) -> Reply {
    let case_group = request.case.split('-').next().unwrap_or_default();
    match (case_group, request.method) {
        (_, "token") => Reply::Nothing,
        (_, "GET" | "DELETE") if request.case != "events-resume-forever" => Reply::Raw(405, "", Vec::new()),
        ("start", _) => start_response(request),
        (_, "server/discover") => Reply::Raw(400, "", Vec::new()),
        (_, "initialize") => initialize_response(request),
        (_, "notifications/initialized") => Reply::Raw(202, "", Vec::new()),
        ("events", _) => event_stream(request),
        ("cursor", _) => tool_page(request),
        ("schema", _) => request.tools(&json!([tool("good"), tool_with_invalid_schema(request.case)])),
        ("size", _) => oversized_response(request),
        ("name", _) => tools_with_invalid_name(request),
        (_, "tools/list") => request.tools(&json!([callable_tool(request.case)])),
        _ => call_response(request),
    }
}

/// Returns the entry of a valid tool.
fn tool(name: &str) -> Value {
    json!({ "name": name, "inputSchema": { "type": "object" } })
}

fn initialize_response(request: &ReceivedRequest<'_>) -> Reply {
    Reply::Json(request.result(&json!({
        "protocolVersion": "2025-06-18", "capabilities": { "tools": {} }, "serverInfo": { "name": "s", "version": "1" },
    })))
}

fn start_response(request: &ReceivedRequest<'_>) -> Reply {
    let is_discover = request.method == "server/discover";
    match request.case {
        "start-discovers-wrong" if is_discover => Reply::Json(request.result(&json!({ "supportedVersions": 7 }))),
        "start-discovers-wrong" => Reply::Raw(404, "", Vec::new()),
        "start-nothing-in-common" => {
            let result = json!({
                "resultType": "complete", "supportedVersions": ["1999-01-01"], "capabilities": {}, "ttlMs": 0,
                "cacheScope": "private", "serverInfo": { "name": "s", "version": "1" },
            });
            Reply::Json(request.result(&result))
        }
        "start-unauthorized" => Reply::Raw(401, "www-authenticate: Bearer\r\n", Vec::new()),
        "start-server-error" => Reply::Raw(503, "", Vec::new()),
        "start-redirect" => Reply::Raw(307, "location: http://elsewhere.test/\r\n", Vec::new()),
        _ if is_discover => Reply::Raw(404, "", Vec::new()),
        "start-html" => Reply::Raw(200, "content-type: text/html\r\n", b"<html>canary".to_vec()),
        "start-batch" => Reply::Json(json!([request.result(&json!({}))])),
        "start-null" => Reply::Text("null".to_owned()),
        "start-empty" => Reply::Text(String::new()),
        "start-other-id" => Reply::Json(json!({ "jsonrpc": "2.0", "id": 4711, "result": {} })),
        "start-long-error" => {
            let error = json!({ "code": -32603, "message": "\u{1b}[31m".repeat(10_000) });
            Reply::Json(json!({ "jsonrpc": "2.0", "id": request.message["id"], "error": error }))
        }
        "start-no-result" => Reply::Json(request.result(&json!({}))),
        "start-capabilities-text" => {
            Reply::Json(request.result(&json!({ "protocolVersion": "2025-06-18", "capabilities": "all" })))
        }
        "start-silent" => Reply::Nothing,
        "start-closed" => Reply::Close,
        "start-accepted" => Reply::Raw(202, "", Vec::new()),
        _ => Reply::Endless("text/event-stream", String::new(), b"data: {\"jsonrpc\": \"2.0\"}\n\n".to_vec()),
    }
}

fn event_stream(request: &ReceivedRequest<'_>) -> Reply {
    let endless = |part: &[u8]| Reply::Endless("text/event-stream", String::new(), part.to_vec());
    let text = |text: &str| Reply::Events(text.to_owned());
    let response = request.result(&json!({ "tools": [] }));
    match request.case {
        "events-none" => text(""),
        "events-cut" => text("data: {\"jsonrpc\": \"2.0\", \"id\"\n\n"),
        "events-other-id" => text("data: {\"jsonrpc\": \"2.0\", \"id\": 4711, \"result\": {\"tools\": []}}\n\n"),
        "events-large" => Reply::Events(format!("data: \"{}\"\n\n", "x".repeat(9 * 1024 * 1024))),
        "events-endless-line" => endless(&[b'x'; 4096]),
        "events-endless-comments" => endless(b": still here\n\n"),
        "events-endless-pings" => endless(b"event: ping\ndata: {\"now\": 1}\n\n"),
        "events-request-only" => {
            text("data: {\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"sampling/createMessage\", \"params\": {}}\n\n")
        }
        "events-notifications" => {
            let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress",
                "params": { "progressToken": 0, "progress": 1 } });
            Reply::Events(format!("data: {progress}\n\n").repeat(20_000))
        }
        "events-batch" => Reply::Events(format!("data: [{response}]\n\n")),
        "events-not-utf8" => {
            Reply::Raw(200, "content-type: text/event-stream\r\n", b"data: {\"\xff\": \xff}\n\n".to_vec())
        }
        "events-resume-forever" => text("id: 1\nretry: 0\n: no data\n\n"),
        _ => Reply::Events(format!("event: other\ndata: {response}\n\n")),
    }
}

fn tool_page(request: &ReceivedRequest<'_>) -> Reply {
    let page =
        |tools: Value, cursor: Value| Reply::Json(request.result(&json!({ "tools": tools, "nextCursor": cursor })));
    let page_number = request.earlier_count;
    match request.case {
        "cursor-same" => page(json!([tool(&format!("t{page_number}"))]), json!("again")),
        "cursor-alternates" => page(json!([tool(&format!("t{page_number}"))]), json!((page_number % 2).to_string())),
        "cursor-without-tools" => page(json!([]), json!(page_number.to_string())),
        "cursor-endless-tools" => {
            let tools: Vec<_> = (0..1000).map(|tool_number| tool(&format!("t{page_number}-{tool_number}"))).collect();
            page(json!(tools), json!(page_number.to_string()))
        }
        "cursor-large" => page(json!([tool("a")]), json!("c".repeat(1024 * 1024))),
        "cursor-number" => page(json!([tool("a")]), json!(page_number)),
        _ => page(json!([tool("a")]), json!(page_number.to_string())),
    }
}

/// Returns the entry of a tool with the invalid schema or annotation of the case.
fn tool_with_invalid_schema(case: &str) -> Value {
    let mut tool = tool("flawed");
    match case {
        "schema-missing" => tool = json!({ "name": "flawed" }),
        "schema-text" => tool["inputSchema"] = json!("object"),
        "schema-list" => tool["inputSchema"] = json!([]),
        "schema-null" => tool["inputSchema"] = Value::Null,
        "schema-deep" => tool["inputSchema"] = nested_schema(150),
        "schema-output-list" => tool["outputSchema"] = json!([]),
        "schema-hint" => tool["annotations"] = json!({ "readOnlyHint": "yes" }),
        "schema-annotations" => tool["annotations"] = json!(["readOnlyHint"]),
        _ => tool["icons"] = json!("icon.png"),
    }
    tool
}

/// Returns a schema with this number of nested levels.
fn nested_schema(levels: usize) -> Value {
    (0..levels).fold(json!({}), |schema, _| json!({ "properties": { "a": schema } }))
}

/// Returns the tool of a case about calls. Some have a schema that is expensive to evaluate.
fn callable_tool(case: &str) -> Value {
    let mut tool = tool("it");
    match case {
        "call-schema-loop" => tool["inputSchema"] = json!({ "type": "object", "$ref": "#" }),
        "call-schema-doubling" => {
            let level = |number: usize| {
                let next = json!({ "$ref": format!("#/$defs/d{}", number + 1) });
                (format!("d{number}"), json!({ "allOf": [next, next] }))
            };
            let mut definitions: serde_json::Map<_, _> = (0..60).map(level).collect();
            definitions.insert("d60".to_owned(), json!({ "type": "object" }));
            tool["inputSchema"] = json!({ "type": "object", "$ref": "#/$defs/d0", "$defs": definitions });
        }
        "call-schema-pattern" => {
            let pattern = json!({ "type": "string", "pattern": "^((a+)+)+(?!b)$" });
            tool["inputSchema"] = json!({ "type": "object", "properties": { "text": pattern } });
        }
        "call-schema-deep" => tool["inputSchema"] = nested_schema(40),
        _ => {}
    }
    tool
}

fn oversized_response(request: &ReceivedRequest<'_>) -> Reply {
    let id = &request.message["id"];
    let response =
        |filler: &str| format!(r#"{{"jsonrpc": "2.0", "id": {id}, "result": {{"tools": [], "x": {filler}}}}}"#);
    match request.case {
        "size-json" => Reply::Text(response(&format!("\"{}\"", "x".repeat(9 * 1024 * 1024)))),
        "size-gzip" => {
            Reply::Raw(200, "content-type: application/json\r\ncontent-encoding: gzip\r\n", GZIP_BOMB.clone())
        }
        "size-objects" => Reply::Text(response(&format!("[{}{{}}]", "{\"a\":1},".repeat(700_000)))),
        "size-tools" => {
            let tools: Vec<_> = (0..25_000).map(|number| tool(&format!("t{number}"))).collect();
            Reply::Json(request.result(&json!({ "tools": tools })))
        }
        "size-descriptions" => {
            let mut tool = tool(&format!("t{}", request.earlier_count));
            tool["description"] = json!("d".repeat(4 * 1024 * 1024));
            Reply::Json(request.result(&json!({ "tools": [tool], "nextCursor": request.earlier_count.to_string() })))
        }
        "size-header" => {
            let header: &'static str =
                Box::leak(format!("x-much: {}\r\n", "x".repeat(2 * 1024 * 1024)).into_boxed_str());
            Reply::Raw(200, header, b"{}".to_vec())
        }
        "size-shorter" => {
            Reply::Raw(200, "content-type: application/json\r\ncontent-length: 9000\r\nx: ", b"{".to_vec())
        }
        "size-endless" => Reply::Endless("application/json", "{".to_owned(), vec![b' '; 4096]),
        _ => Reply::Raw(418, "content-type: application/json\r\n", vec![b'x'; 20 * 1024 * 1024]),
    }
}

/// 256 MiB of spaces, compressed. A debug build compresses for several seconds, so the tests force this value before
/// they start their servers. Otherwise, the compression could exceed the time limit of a client.
pub(crate) static GZIP_BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let spaces = vec![b' '; 1024 * 1024];
    for _ in 0..256 {
        encoder.write_all(&spaces).unwrap();
    }
    encoder.finish().unwrap()
});

fn tools_with_invalid_name(request: &ReceivedRequest<'_>) -> Reply {
    let tool_named = |name: Value| json!({ "name": name, "inputSchema": {} });
    let invalid_tool = match request.case {
        "name-empty" => tool_named(json!("")),
        "name-control" => tool_named(json!("red\u{1b}[31m")),
        "name-long" => tool_named(json!("n".repeat(100_000))),
        "name-number" => tool_named(json!(7)),
        "name-missing" => json!({ "inputSchema": {} }),
        "name-twice" => tool_named(json!("good")),
        "name-no-object" => json!("tool"),
        _ => return request.tools(&json!({ "good": tool("good") })),
    };
    request.tools(&json!([tool("good"), invalid_tool]))
}

fn call_response(request: &ReceivedRequest<'_>) -> Reply {
    let result = |result: Value| Reply::Json(request.result(&result));
    match request.case {
        "call-null" => result(Value::Null),
        "call-content-text" => result(json!({ "content": "text" })),
        "call-no-content" => result(json!({ "resultType": "complete", "isError": 1 })),
        "call-events-none" => Reply::Events(String::new()),
        "call-other-id" => Reply::Json(json!({ "jsonrpc": "2.0", "id": "x", "result": { "content": [] } })),
        "call-needs-input" => {
            let input = json!({ "method": "elicitation/create", "params": { "message": "secret?" } });
            result(json!({ "resultType": "input_required", "inputRequests": { "a": input }, "requestState": "s" }))
        }
        "call-large" => result(json!({ "content": [{ "type": "text", "text": "x".repeat(9 * 1024 * 1024) }] })),
        _ => {
            let error = json!({ "code": -32602, "message": "m".repeat(1024 * 1024), "data": "d".repeat(1024 * 1024) });
            Reply::Json(json!({ "jsonrpc": "2.0", "id": request.message["id"], "error": error }))
        }
    }
}
