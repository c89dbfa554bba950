//! Sessions that a server no longer knows.

use agent_gateway::Principal;
use serde_json::json;

use crate::lab::{Lab, all_tools, object, tool, who};

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_session_is_restarted_once() {
    let Some(lab) = Lab::open() else { return };
    let (gateway, alice) = (lab.builder().build(), lab.user("alice"));
    let found = all_tools(&gateway, &alice).await;
    let begun = lab.mcp.requests("initialize").len();
    for _ in 0..3 {
        who(&gateway, &found, "orders", &alice).await;
    }
    lab.mcp.forget_sessions();
    for _ in 0..3 {
        who(&gateway, &found, "orders", &alice).await;
    }
    let calls = lab.mcp.requests("tools/call");
    let lost = calls.iter().filter(|call| call["status"] == 404).count();
    assert_eq!((calls.len(), lost), (7, 1), "{calls:?}");
    assert_eq!(lab.mcp.requests("initialize").len(), begun + 1);
    assert_eq!(lab.tokens(), (0, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_continue_after_a_restart_of_the_servers() {
    let Some(mut lab) = Lab::open() else { return };
    let gateway = lab.builder().build();
    let found = all_tools(&gateway, &Principal::System).await;
    who(&gateway, &found, "orders", &Principal::System).await;
    lab.restart_servers();
    who(&gateway, &found, "orders", &Principal::System).await;
    assert_eq!(lab.mcp.requests("initialize").len(), 1, "of the servers, only this one was needed");
    assert_eq!(lab.tokens(), (1, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_ended_when_the_gateway_is() {
    let Some(lab) = Lab::open() else { return };
    let gateway = lab.builder().build();
    let found = all_tools(&gateway, &Principal::System).await;
    drop((gateway, found));
    let begun = lab.mcp.requests("initialize").len();
    lab.mcp.wait_for("DELETE", begun.try_into().unwrap());
    assert!(lab.mcp.requests("DELETE").iter().all(|end| end["status"] == 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn call_to_a_server_that_dies_has_an_unknown_outcome() {
    let Some(mut lab) = Lab::open() else { return };
    let (gateway, system) = (lab.builder().build(), Principal::System);
    let found = all_tools(&gateway, &system).await;
    let (agent, wait) = (gateway.clone(), tool(&found, "orders", "wait").clone());
    let calling = tokio::spawn(async move {
        agent.call_tool(&wait, &Principal::System, object(json!({ "steps": 0 }))).await.map(drop)
    });
    lab.mcp.wait_for("tools/call", 1);
    lab.restart_servers();
    let error = calling.await.unwrap().unwrap_err();
    assert!(error.is_broken_off() && !error.is_connect(), "{error:?}");
    assert!(error.to_string().contains("`orders`"), "{error}");
    assert!(lab.mcp.requests("tools/call").is_empty(), "it was not sent again");
    who(&gateway, &found, "orders", &system).await;
}
