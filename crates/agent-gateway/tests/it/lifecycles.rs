//! The two lifecycles of MCP servers: stateless and with sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_gateway::Principal;
use serde_json::{Map, json};

use crate::clock::ManualClock;
use crate::fake_server::{FakeServer, list, reply_with_sessions, reply_without_sessions, two_tools, user};
use crate::server::Reply;

#[tokio::test]
async fn stateless_server_gets_its_metadata_and_no_session() {
    let fake = FakeServer::start(|request| reply_without_sessions(request, &two_tools(), &json!({})));
    let gateway = fake.builder().build();
    let listing = list(&gateway, &Principal::System).await;
    let result = gateway.call_tool(&listing.tools[1], &Principal::System, Map::new()).await.unwrap();
    assert_eq!(result.text(), "done");
    for (method, name) in [("server/discover", None), ("tools/list", None), ("tools/call", Some("two"))] {
        let [request] = &fake.requests(method)[..] else { panic!("one {method}") };
        assert_eq!(request.header("mcp-protocol-version"), Some("2026-07-28"), "{method}");
        assert_eq!((request.header("mcp-method"), request.header("mcp-name")), (Some(method), name));
        assert_eq!(request.header("mcp-session-id"), None);
        let meta = &request.message["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28", "{method}: {meta}");
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "agent-gateway", "{method}: {meta}");
        assert!(meta["io.modelcontextprotocol/clientCapabilities"].is_object(), "{method}: {meta}");
    }
    let session_methods = ["initialize", "notifications/initialized", "GET", "DELETE"];
    assert!(session_methods.iter().all(|method| fake.count(method) == 0));
}

#[tokio::test]
async fn every_refusal_of_discovery_leads_to_a_session() {
    let html = "content-type: text/html\r\n";
    let json = "content-type: application/json\r\n";
    let events = "content-type: text/event-stream\r\n";
    let unknown_method = br#"{"jsonrpc": "2.0", "id": 0, "error": {"code": -32601, "message": "no such method"}}"#;
    let error_with_other_id =
        br#"{"jsonrpc": "2.0", "id": "server-error", "error": {"code": -32600, "message": "no session"}}"#;
    let empty_result = br#"{"jsonrpc": "2.0", "id": 0, "result": {}}"#;
    let error_event = br#"data: {"jsonrpc": "2.0", "id": 0, "error": {"code": -32601, "message": "no"}}"#;
    let bodies: [(u16, &'static str, &'static [u8]); 14] = [
        (400, "", b""),
        (404, html, b"<html>"),
        (405, "", b""),
        (406, "", b""),
        (415, "", b""),
        (500, "", b""),
        (501, "", b""),
        (202, "", b""),
        (200, html, b"<html>"),
        (200, json, unknown_method),
        (400, json, error_with_other_id),
        (200, json, empty_result),
        (200, events, error_event),
        (200, events, b""),
    ];
    for (status, headers, body) in bodies {
        let fake = FakeServer::start(move |request| match request.method {
            "server/discover" => Reply::Raw(status, headers, body.to_vec()),
            _ => reply_with_sessions(request, &two_tools()),
        });
        let listing = list(&fake.builder().build(), &Principal::System).await;
        assert_eq!(listing.tools.len(), 2, "{status} {}", String::from_utf8_lossy(body));
        assert_eq!((fake.count("server/discover"), fake.count("initialize")), (1, 1));
    }
}

#[tokio::test]
async fn lifecycle_of_a_server_is_remembered_for_all_principals() {
    let fake = FakeServer::start(|request| reply_with_sessions(request, &two_tools()));
    let gateway = fake.builder().build();
    for principal in [Principal::System, user("alice"), user("bob")] {
        list(&gateway, &principal).await;
    }
    assert_eq!((fake.count("server/discover"), fake.count("initialize")), (1, 3));
    let versions: Vec<_> = fake
        .requests("initialize")
        .iter()
        .map(|request| request.message["params"]["protocolVersion"].clone())
        .collect();
    assert_eq!(versions, ["2025-11-25"; 3]);
}

#[tokio::test]
async fn changed_lifecycle_is_detected() {
    let is_stateless = Arc::new(AtomicBool::new(false));
    let state = is_stateless.clone();
    let fake = FakeServer::start(move |request| match state.load(Ordering::SeqCst) {
        true => reply_without_sessions(request, &two_tools(), &json!({})),
        false if request.headers.get("mcp-protocol-version").is_some_and(|version| version == "2026-07-28") => {
            Reply::Raw(400, "", Vec::new())
        }
        false => reply_with_sessions(request, &two_tools()),
    });
    let gateway = fake.builder().build();
    list(&gateway, &Principal::System).await;
    is_stateless.store(true, Ordering::SeqCst);
    // The new session of alice starts with the remembered lifecycle.
    list(&gateway, &user("alice")).await;
    assert_eq!(fake.count("server/discover"), 2);
    is_stateless.store(false, Ordering::SeqCst);
    gateway.evict();
    let alice = user("alice");
    let filter = agent_gateway::ToolFilter::new();
    assert_eq!(gateway.list_tools(&alice, &filter).strict().await.unwrap_err().status(), Some(400));
    list(&gateway, &alice).await;
}

#[tokio::test]
async fn tool_list_has_the_lifetime_that_the_server_declares() {
    let minute = Duration::from_secs(60);
    for (declared_lifetime, lifetime) in [
        (json!({}), 5 * minute),
        (json!({ "ttlMs": 60_000, "cacheScope": "public" }), minute),
        (json!({ "ttlMs": 3_600_000, "cacheScope": "private" }), 60 * minute),
        (json!({ "ttlMs": 0, "cacheScope": "public" }), Duration::ZERO),
    ] {
        let list_members = declared_lifetime.clone();
        let fake = FakeServer::start(move |request| reply_without_sessions(request, &two_tools(), &list_members));
        let clock = Arc::new(ManualClock::start());
        let gateway = fake.builder().with_clock(clock.clone()).build();
        list(&gateway, &Principal::System).await;
        let mut list_count = 1;
        if !lifetime.is_zero() {
            clock.advance(lifetime.saturating_sub(Duration::from_secs(1)));
            list(&gateway, &Principal::System).await;
            assert_eq!(fake.count("tools/list"), list_count, "{declared_lifetime}");
            clock.advance(Duration::from_secs(2));
        }
        list(&gateway, &Principal::System).await;
        list_count += 1;
        assert_eq!(fake.count("tools/list"), list_count, "{declared_lifetime}");
        list(&gateway, &user("alice")).await;
        assert_eq!(
            fake.count("tools/list"),
            list_count + 1,
            "the list of another principal is not used: {declared_lifetime}"
        );
    }
}

#[tokio::test]
async fn hundred_rounds_need_one_token_per_principal_in_every_lifecycle() {
    for is_stateless in [false, true] {
        let fake = FakeServer::start(move |request| {
            let hints = json!({ "ttlMs": 0, "cacheScope": "private" });
            if is_stateless {
                reply_without_sessions(request, &two_tools(), &hints)
            } else {
                reply_with_sessions(request, &two_tools())
            }
        });
        let gateway = fake.builder().build();
        let alice = user("alice");
        for _ in 0..100 {
            gateway.evict();
            let listing = list(&gateway, &Principal::System).await;
            gateway.call_tool(&listing.tools[0], &alice, Map::new()).await.unwrap();
        }
        assert_eq!((fake.count("tools/list"), fake.count("tools/call")), (100, 100));
        assert_eq!(fake.token_request_count(), 2, "one token for the system and one for the user");
    }
}
