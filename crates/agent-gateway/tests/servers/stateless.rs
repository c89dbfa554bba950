//! Servers without sessions (MCP 2026-07-28). Most other tests use such servers, too.

use std::time::Duration;

use agent_gateway::Principal;
use serde_json::json;

use crate::test_bed::{TestBed, all_tools, object, tool, whoami};

#[tokio::test(flavor = "multi_thread")]
async fn stateless_servers_are_discovered_and_have_no_sessions() {
    let Some(test_bed) = TestBed::open() else { return };
    let (gateway, alice) = (test_bed.builder().build(), test_bed.user("alice"));
    let listing = all_tools(&gateway, &alice).await;
    whoami(&gateway, &listing, "orders", &alice).await;
    test_bed.mcp.revoke();
    whoami(&gateway, &listing, "orders", &alice).await;
    drop(gateway);
    assert_eq!(test_bed.mcp.requests("server/discover").len(), 5);
    assert!(test_bed.mcp.requests("initialize").is_empty() && test_bed.mcp.requests("DELETE").is_empty());
    let calls = test_bed.mcp.requests("tools/call");
    assert!(calls.iter().all(|call| call["session"].is_null()), "{calls:?}");
    assert_eq!(test_bed.tokens(), (0, 2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_call_closes_its_stream() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().build();
    let listing = all_tools(&gateway, &Principal::System).await;
    let wait = tool(&listing, "orders", "wait").clone();
    let pending_call = tokio::spawn(async move {
        let call = gateway.call_tool(&wait, &Principal::System, object(json!({ "steps": 1 })));
        call.with_timeout(Duration::from_secs(60)).await.map(drop)
    });
    test_bed.mcp.wait_for("tools/call", 1);
    pending_call.abort();
    test_bed.mcp.wait_for("cancelled", 1);
    assert!(
        test_bed.mcp.requests("notifications/cancelled").is_empty(),
        "closing the stream cancels the call without a notification"
    );
}
