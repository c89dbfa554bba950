//! Calls of tools: arguments, results, progress and cancellation.

use std::sync::mpsc::channel;
use std::time::Duration;

use agent_gateway::{ModelNames, Principal, ToolFilter};
use serde_json::{Map, json};

use crate::provider::TIMEOUT;
use crate::test_bed::{TestBed, all_tools, object, tool};

#[tokio::test(flavor = "multi_thread")]
async fn every_result_block_is_returned() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().build();
    let listing = all_tools(&gateway, &Principal::System).await;
    let result = gateway.call_tool(tool(&listing, "orders", "many"), &Principal::System, Map::new()).await.unwrap();
    let kinds: Vec<_> = result.content().iter().map(agent_gateway::Content::kind).collect();
    assert_eq!(kinds, ["text", "image", "text"]);
    assert_eq!(result.content()[1].media(), Some(("image/png", "iVBORw==")));
    assert_eq!(result.text(), "one\ntwo");
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_tool_is_an_error_with_its_result() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().build();
    let listing = all_tools(&gateway, &Principal::System).await;
    let reason = object(json!({ "reason": "canary: no such order" }));
    let error = gateway.call_tool(tool(&listing, "orders", "fail"), &Principal::System, reason).await.unwrap_err();
    assert!(error.tool_result().unwrap().text().contains("canary: no such order"));
    assert!(error.to_string().contains("`fail`"), "{error}");
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tool_parameters_may_have_names_of_call_parameters() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().build();
    let listing = all_tools(&gateway, &Principal::System).await;
    let arguments = json!({ "self_": "a", "tool": "b", "principal": "c", "arguments": { "d": 1 }, "timeout": 0.5 });
    let clash = tool(&listing, "orders", "clash");
    let result = gateway.call_tool(clash, &Principal::System, object(arguments.clone())).await.unwrap();
    assert_eq!(result.structured(), Some(&arguments));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_arguments_are_not_sent_and_the_field_is_reported() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().build();
    let listing = all_tools(&gateway, &Principal::System).await;
    let add = tool(&listing, "orders", "add");
    for (arguments, expected_text) in [
        (json!({ "a": 1, "b": "canary" }), "`/b`"),
        (json!({ "a": 1 }), "\"b\""),
        (json!({ "a": 1.5, "b": 2 }), "`/a`"),
    ] {
        let error = gateway.call_tool(add, &Principal::System, object(arguments)).await.unwrap_err();
        let message = error.to_string();
        assert!(error.is_arguments() && message.contains(expected_text) && message.contains("`add`"), "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    assert!(test_bed.mcp.requests("tools/call").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_reported_while_a_tool_runs() {
    for test_bed in [TestBed::open, TestBed::with_sessions, TestBed::with_version_1] {
        let Some(test_bed) = test_bed() else { return };
        check_progress(&test_bed).await;
    }
}

async fn check_progress(test_bed: &TestBed) {
    let (gateway, alice) = (test_bed.builder().build(), test_bed.user("alice"));
    let listing = all_tools(&gateway, &alice).await;
    let (sender, receiver) = channel();
    let call = gateway.call_tool(tool(&listing, "orders", "wait"), &alice, object(json!({ "steps": 3 })));
    let call = call.with_progress(move |progress| sender.send(progress).unwrap());
    let release_after_last_step = async {
        let last_update = tokio::task::spawn_blocking(move || {
            let mut updates = std::iter::from_fn(|| receiver.recv_timeout(TIMEOUT).ok());
            updates.find(|progress| progress.done >= 3.0)
        });
        let last_update = last_update.await.unwrap().unwrap();
        assert_eq!((last_update.total, last_update.message.as_deref()), (Some(3.0), Some("step 3")));
        test_bed.mcp.release();
    };
    let (result, ()) = tokio::join!(call, release_after_last_step);
    assert_eq!(result.unwrap().text(), "released");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_call_is_canceled() {
    for test_bed in [TestBed::with_sessions, TestBed::with_version_1] {
        let Some(test_bed) = test_bed() else { return };
        check_cancellation(&test_bed).await;
    }
}

async fn check_cancellation(test_bed: &TestBed) {
    let (gateway, alice) = (test_bed.builder().build(), test_bed.user("alice"));
    let listing = all_tools(&gateway, &alice).await;
    let wait = tool(&listing, "orders", "wait");
    let arguments = move || object(json!({ "steps": 0 }));
    let call = gateway.call_tool(wait, &alice, arguments()).with_timeout(Duration::from_secs(10)).await;
    assert!(call.unwrap_err().is_timeout());
    test_bed.mcp.wait_for("cancelled", 1);

    let (gateway, wait) = (gateway.clone(), wait.clone());
    let pending_call = tokio::spawn(async move { gateway.call_tool(&wait, &alice, arguments()).await.map(drop) });
    test_bed.mcp.wait_for("tools/call", 2);
    pending_call.abort();
    test_bed.mcp.wait_for("cancelled", 2);
    assert_eq!(test_bed.mcp.requests("notifications/cancelled").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_have_the_correlation_id_of_their_call() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().build();
    let filter = ToolFilter::new().with_ord_id("orders");
    let listing = gateway.list_tools(&Principal::System, &filter).with_correlation_id("listing-1").await.unwrap();
    let many = tool(&listing, "orders", "many");
    gateway.call_tool(many, &Principal::System, Map::new()).with_correlation_id("call-1").await.unwrap();
    test_bed.mcp.revoke();
    gateway.call_tool(many, &Principal::System, Map::new()).with_correlation_id("call-2").await.unwrap();
    for _ in 0..2 {
        gateway.call_tool(many, &Principal::System, Map::new()).await.unwrap();
    }
    assert_eq!(test_bed.mcp.requests("tools/list")[0]["correlation"], "listing-1");
    let calls = test_bed.mcp.requests("tools/call");
    let ids: Vec<_> = calls.iter().map(|call| call["correlation"].as_str().unwrap()).collect();
    assert_eq!(ids[..3], ["call-1", "call-2", "call-2"], "a repeated request keeps its correlation id");
    assert!(ids[3].len() == 36 && ids[4].len() == 36 && ids[3] != ids[4], "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn model_safe_names_resolve_to_their_tools() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().build();
    let listing = all_tools(&gateway, &Principal::System).await;
    let names = ModelNames::new(listing.tools.clone());
    assert_eq!(names.iter().count(), 5 * 8, "two servers may have tools with the same name");
    let is_accepted = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    for (name, tool) in names.iter() {
        assert!(name.len() <= 64 && name.chars().all(is_accepted), "{name}");
        assert_eq!(ModelNames::name(tool), name);
    }
    let tool_with_unsafe_name = listing.tools.iter().find(|tool| tool.name().starts_with("stock: tell me")).unwrap();
    let resolved_tool = names.tool(&ModelNames::name(tool_with_unsafe_name)).unwrap();
    let result = gateway.call_tool(resolved_tool, &Principal::System, Map::new()).await.unwrap();
    assert_eq!(result.text(), "much");
    assert_eq!(names.tool("add"), None, "an invented name resolves to no tool");
}
