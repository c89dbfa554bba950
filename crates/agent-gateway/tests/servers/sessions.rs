//! Sessions that a server no longer knows.

use agent_gateway::Principal;
use serde_json::json;

use crate::test_bed::{TestBed, all_tools, caller, object, tool};

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_session_is_restarted_once() {
    let Some(test_bed) = TestBed::with_sessions() else { return };
    let (gateway, alice) = (test_bed.builder().build(), test_bed.user("alice"));
    let found = all_tools(&gateway, &alice).await;
    let begun = test_bed.mcp.requests("initialize").len();
    for _ in 0..3 {
        caller(&gateway, &found, "orders", &alice).await;
    }
    test_bed.mcp.forget_sessions();
    for _ in 0..3 {
        caller(&gateway, &found, "orders", &alice).await;
    }
    let calls = test_bed.mcp.requests("tools/call");
    let lost = calls.iter().filter(|call| call["status"] == 404).count();
    assert_eq!((calls.len(), lost), (7, 1), "{calls:?}");
    assert_eq!(test_bed.mcp.requests("initialize").len(), begun + 1);
    assert_eq!(test_bed.tokens(), (0, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_continue_after_a_restart_of_the_servers() {
    let Some(mut test_bed) = TestBed::with_sessions() else { return };
    let gateway = test_bed.builder().build();
    let found = all_tools(&gateway, &Principal::System).await;
    caller(&gateway, &found, "orders", &Principal::System).await;
    test_bed.restart_servers();
    caller(&gateway, &found, "orders", &Principal::System).await;
    assert_eq!(test_bed.mcp.requests("initialize").len(), 1, "no other server received a request");
    assert_eq!(test_bed.tokens(), (1, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_ends_its_sessions_when_dropped() {
    let Some(test_bed) = TestBed::with_sessions() else { return };
    let gateway = test_bed.builder().build();
    let found = all_tools(&gateway, &Principal::System).await;
    drop((gateway, found));
    let begun = test_bed.mcp.requests("initialize").len();
    test_bed.mcp.wait_for("DELETE", begun.try_into().unwrap());
    assert!(test_bed.mcp.requests("DELETE").iter().all(|end| end["status"] == 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn call_to_a_server_that_dies_has_an_unknown_outcome() {
    let Some(mut test_bed) = TestBed::with_sessions() else { return };
    let (gateway, system) = (test_bed.builder().build(), Principal::System);
    let found = all_tools(&gateway, &system).await;
    let (agent, wait) = (gateway.clone(), tool(&found, "orders", "wait").clone());
    let calling = tokio::spawn(async move {
        agent.call_tool(&wait, &Principal::System, object(json!({ "steps": 0 }))).await.map(drop)
    });
    test_bed.mcp.wait_for("tools/call", 1);
    test_bed.restart_servers();
    let error = calling.await.unwrap().unwrap_err();
    assert!(error.is_broken_off() && !error.is_connect(), "{error:?}");
    assert!(error.to_string().contains("`orders`"), "{error}");
    assert!(test_bed.mcp.requests("tools/call").is_empty(), "it was not sent again");
    caller(&gateway, &found, "orders", &system).await;
}
