//! Sessions that a server no longer knows.

use agent_gateway::Principal;
use serde_json::json;

use crate::test_bed::{TestBed, all_tools, object, tool, whoami};

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_session_is_restarted_once() {
    let Some(test_bed) = TestBed::with_sessions() else { return };
    let (gateway, alice) = (test_bed.builder().build(), test_bed.user("alice"));
    let listing = all_tools(&gateway, &alice).await;
    let initial_session_count = test_bed.mcp.requests("initialize").len();
    for _ in 0..3 {
        whoami(&gateway, &listing, "orders", &alice).await;
    }
    test_bed.mcp.forget_sessions();
    for _ in 0..3 {
        whoami(&gateway, &listing, "orders", &alice).await;
    }
    let calls = test_bed.mcp.requests("tools/call");
    let not_found_count = calls.iter().filter(|call| call["status"] == 404).count();
    assert_eq!((calls.len(), not_found_count), (7, 1), "{calls:?}");
    assert_eq!(test_bed.mcp.requests("initialize").len(), initial_session_count + 1);
    assert_eq!(test_bed.tokens(), (0, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_continue_after_a_restart_of_the_servers() {
    let Some(mut test_bed) = TestBed::with_sessions() else { return };
    let gateway = test_bed.builder().build();
    let listing = all_tools(&gateway, &Principal::System).await;
    whoami(&gateway, &listing, "orders", &Principal::System).await;
    test_bed.restart_servers();
    whoami(&gateway, &listing, "orders", &Principal::System).await;
    assert_eq!(test_bed.mcp.requests("initialize").len(), 1, "no other server received a request");
    assert_eq!(test_bed.tokens(), (1, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_ends_its_sessions_when_dropped() {
    let Some(test_bed) = TestBed::with_sessions() else { return };
    let gateway = test_bed.builder().build();
    let listing = all_tools(&gateway, &Principal::System).await;
    drop((gateway, listing));
    let session_count = test_bed.mcp.requests("initialize").len();
    test_bed.mcp.wait_for("DELETE", session_count.try_into().unwrap());
    assert!(test_bed.mcp.requests("DELETE").iter().all(|request| request["status"] == 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn call_to_a_server_that_dies_has_an_unknown_outcome() {
    let Some(mut test_bed) = TestBed::with_sessions() else { return };
    let (gateway, system) = (test_bed.builder().build(), Principal::System);
    let listing = all_tools(&gateway, &system).await;
    let (calling_gateway, wait) = (gateway.clone(), tool(&listing, "orders", "wait").clone());
    let pending_call = tokio::spawn(async move {
        calling_gateway.call_tool(&wait, &Principal::System, object(json!({ "steps": 0 }))).await.map(drop)
    });
    test_bed.mcp.wait_for("tools/call", 1);
    test_bed.restart_servers();
    let error = pending_call.await.unwrap().unwrap_err();
    assert!(error.is_broken_off() && !error.is_connect(), "{error:?}");
    assert!(error.to_string().contains("`orders`"), "{error}");
    assert!(test_bed.mcp.requests("tools/call").is_empty(), "the call was not sent again");
    whoami(&gateway, &listing, "orders", &system).await;
}
