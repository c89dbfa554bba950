//! Unusual event streams and tool lists, valid and invalid.

use std::sync::Mutex;
use std::time::Duration;

use agent_gateway::{Principal, ToolFilter};
use serde_json::{Map, Value, json};

use crate::fake_server::{FakeServer, list, reply_with_sessions, two_tools, user};
use crate::server::Reply;

/// Returns named variants of an event stream with this response. All are valid.
fn stream_variants(response: &Value) -> Vec<(&'static str, String)> {
    let id = &response["id"];
    let response_with_text_id = response.to_string().replacen(&format!("\"id\":{id}"), &format!("\"id\":\"{id}\""), 1);
    let message = format!("event: message\ndata: {response}\n\n");
    vec![
        ("plain", message.clone()),
        ("without a type", format!("data: {response}\n\n")),
        ("lines that end with CRLF", message.replace('\n', "\r\n")),
        ("lines that end with CR", message.replace('\n', "\r")),
        ("a byte order mark", format!("\u{feff}{message}")),
        ("comments", format!(": ping - 2026\n\n: \n{message}")),
        ("an empty ping", format!("event: ping\n\n{message}")),
        ("a ping with text", format!("event: ping\ndata: ping\n\n{message}")),
        ("a ping with JSON", format!("event: ping\ndata: {{\"t\": 1}}\n\n{message}")),
        ("another event with a message", format!("event: endpoint\ndata: {response}\n\n{message}")),
        ("text that is not a message", format!("data: ping\n\n{message}")),
        ("fields that the standard ignores", format!("retry: soon\nx: y\nnothing\n{message}")),
        ("several lines of data", format!("data: {}\n\n", format!("{response:#}").replace('\n', "\ndata: "))),
        ("without the last empty line", message.trim_end().to_owned()),
        ("the id as text", format!("data: {response_with_text_id}\n\n")),
    ]
}

#[tokio::test]
async fn unusual_but_valid_streams_are_read() {
    let names: Vec<_> = stream_variants(&json!({})).into_iter().map(|(name, _)| name).collect();
    for (index, name) in names.into_iter().enumerate() {
        let fake = FakeServer::start(move |request| match reply_with_sessions(request, &two_tools()) {
            Reply::Json(response) => Reply::Events(stream_variants(&response)[index].1.clone()),
            other => other,
        });
        let gateway = fake.builder().build();
        let listing = list(&gateway, &Principal::System).await;
        assert_eq!(listing.tools.len(), 2, "{name}");
        let result = gateway.call_tool(&listing.tools[0], &Principal::System, Map::new()).await.unwrap();
        assert_eq!(result.text(), "done", "{name}");
    }
}

#[tokio::test]
async fn resumption_honors_the_delay_and_sends_the_last_event_id() {
    let delay = Duration::from_millis(700);
    let call_id = Mutex::new(Value::Null);
    let fake = FakeServer::start(move |request| match request.method {
        "tools/call" => {
            *call_id.lock().unwrap() = request.message["id"].clone();
            Reply::Events(format!("id: a/1\nretry: {}\ndata:\n\n", delay.as_millis()))
        }
        "GET" if request.headers.get("last-event-id").is_some_and(|id| id == "a/1") => {
            let result = json!({ "content": [{ "type": "text", "text": "resumed" }] });
            let response = json!({ "jsonrpc": "2.0", "id": *call_id.lock().unwrap(), "result": result });
            Reply::Events(format!("data: {response}\n\n"))
        }
        _ => reply_with_sessions(request, &two_tools()),
    });
    let gateway = fake.builder().build();
    let listing = list(&gateway, &Principal::System).await;
    let result = gateway.call_tool(&listing.tools[0], &Principal::System, Map::new()).await.unwrap();
    assert_eq!(result.text(), "resumed");
    let (calls, resumptions) = (fake.requests("tools/call"), fake.requests("GET"));
    assert_eq!((calls.len(), resumptions.len()), (1, 1));
    let actual_delay = resumptions[0].received_at - calls[0].received_at;
    assert!(actual_delay >= delay, "{actual_delay:?}");
}

#[tokio::test]
async fn stream_that_cannot_be_resumed_has_an_unknown_outcome() {
    let fake = FakeServer::start(|request| match request.method {
        "tools/call" => Reply::Events("id: 1\nretry: 100\ndata:\n\n".to_owned()),
        "GET" => Reply::Raw(400, "", Vec::new()),
        _ => reply_with_sessions(request, &two_tools()),
    });
    let gateway = fake.builder().build();
    let listing = list(&gateway, &Principal::System).await;
    let error = gateway.call_tool(&listing.tools[0], &Principal::System, Map::new()).await.unwrap_err();
    assert!(error.is_broken_off() && error.server() == Some(listing.tools[0].server()), "{error:?}");
    assert_eq!(fake.count("tools/call"), 1);
}

#[tokio::test]
async fn cursor_that_does_not_advance_ends_the_list() {
    for (cursor, error_count) in [("", 0), ("again", 1)] {
        let fake = FakeServer::start(move |request| match request.method {
            "tools/list" if request.earlier_count == 0 => {
                Reply::Json(request.result(&json!({ "tools": two_tools(), "nextCursor": cursor })))
            }
            "tools/list" => Reply::Json(request.result(&json!({ "tools": [], "nextCursor": cursor }))),
            _ => reply_with_sessions(request, &two_tools()),
        });
        let gateway = fake.builder().build();
        let listing = gateway.list_tools(&Principal::System, &ToolFilter::new()).await.unwrap();
        assert_eq!((listing.tools.len(), listing.errors.len()), (2, error_count), "{:?}", listing.errors);
        assert!(fake.count("tools/list") <= 2);
        for error in listing.errors {
            assert!(error.is_protocol() && error.to_string().contains("`orders`"), "{error}");
            assert!(error.to_string().contains("a cursor was sent twice"), "{error}");
        }
    }
}

#[tokio::test]
async fn invalid_tool_is_reported_and_others_are_listed() {
    let fake = FakeServer::start(|request| {
        let mut listed_tools = two_tools();
        listed_tools[1] = json!({ "name": "bad", "inputSchema": 7 });
        listed_tools.as_array_mut().unwrap().push(json!({ "name": "three", "inputSchema": {} }));
        listed_tools.as_array_mut().unwrap().push(json!({ "name": "three", "inputSchema": {} }));
        match reply_with_sessions(request, &listed_tools) {
            Reply::Json(response) if request.headers["authorization"].is_empty() => Reply::Json(response),
            Reply::Json(response) => Reply::Events(format!("data: {response}\n\n")),
            other => other,
        }
    });
    let gateway = fake.builder().build();
    for principal in [Principal::System, user("alice"), Principal::System] {
        let listing = gateway.list_tools(&principal, &ToolFilter::new()).await.unwrap();
        let names: Vec<_> = listing.tools.iter().map(agent_gateway::Tool::name).collect();
        assert_eq!(names, ["one", "three"]);
        let errors: Vec<_> = listing.errors.iter().map(ToString::to_string).collect();
        assert!(errors[0].contains("`bad`") && errors[0].contains("`inputSchema`"), "{errors:?}");
        assert!(errors[1].contains("`three`") && errors[1].contains("same name"), "{errors:?}");
        assert!(gateway.list_tools(&principal, &ToolFilter::new()).strict().await.unwrap_err().is_protocol());
    }
    assert_eq!(fake.count("tools/list"), 2, "the errors are cached with the tools");
}
