//! Requests and results of calls.

use std::sync::mpsc::channel;
use std::time::Duration;

use agent_gateway::{ModelNames, Principal, ToolFilter};
use serde_json::{Map, json};

use crate::lab::{Lab, all_tools, object, tool};
use crate::provider::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn every_block_of_a_result_comes_back() {
    let Some(lab) = Lab::open() else { return };
    let gateway = lab.builder().build();
    let found = all_tools(&gateway, &Principal::System).await;
    let result = gateway.call_tool(tool(&found, "orders", "many"), &Principal::System, Map::new()).await.unwrap();
    let kinds: Vec<_> = result.content().iter().map(agent_gateway::Content::kind).collect();
    assert_eq!(kinds, ["text", "image", "text"]);
    assert_eq!(result.content()[1].media(), Some(("image/png", "iVBORw==")));
    assert_eq!(result.text(), "one\ntwo");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_fails_is_an_error_with_the_full_result() {
    let Some(lab) = Lab::open() else { return };
    let gateway = lab.builder().build();
    let found = all_tools(&gateway, &Principal::System).await;
    let reason = object(json!({ "reason": "canary: no such order" }));
    let error = gateway.call_tool(tool(&found, "orders", "fail"), &Principal::System, reason).await.unwrap_err();
    assert!(error.tool_result().unwrap().text().contains("canary: no such order"));
    assert!(error.to_string().contains("`fail`"), "{error}");
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_may_be_called_like_those_of_the_call_itself() {
    let Some(lab) = Lab::open() else { return };
    let gateway = lab.builder().build();
    let found = all_tools(&gateway, &Principal::System).await;
    let arguments = json!({ "self_": "a", "tool": "b", "principal": "c", "arguments": { "d": 1 }, "timeout": 0.5 });
    let clash = tool(&found, "orders", "clash");
    let result = gateway.call_tool(clash, &Principal::System, object(arguments.clone())).await.unwrap();
    assert_eq!(result.structured(), Some(&arguments));
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_do_not_fit_name_the_field_and_are_not_sent() {
    let Some(lab) = Lab::open() else { return };
    let gateway = lab.builder().build();
    let found = all_tools(&gateway, &Principal::System).await;
    let add = tool(&found, "orders", "add");
    for (arguments, named) in [
        (json!({ "a": 1, "b": "canary" }), "`/b`"),
        (json!({ "a": 1 }), "\"b\""),
        (json!({ "a": 1.5, "b": 2 }), "`/a`"),
    ] {
        let error = gateway.call_tool(add, &Principal::System, object(arguments)).await.unwrap_err();
        let said = error.to_string();
        assert!(error.is_arguments() && said.contains(named) && said.contains("`add`"), "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    assert!(lab.mcp.requests("tools/call").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_passed_on_while_a_tool_works() {
    let Some(lab) = Lab::open() else { return };
    let (gateway, alice) = (lab.builder().build(), lab.user("alice"));
    let found = all_tools(&gateway, &alice).await;
    let (tell, hear) = channel();
    let call = gateway.call_tool(tool(&found, "orders", "wait"), &alice, object(json!({ "steps": 3 })));
    let call = call.with_progress(move |progress| tell.send(progress).unwrap());
    let releasing = async {
        let last = tokio::task::spawn_blocking(move || {
            let mut heard = std::iter::from_fn(|| hear.recv_timeout(PATIENCE).ok());
            heard.find(|progress| progress.done >= 3.0)
        });
        let last = last.await.unwrap().unwrap();
        assert_eq!((last.total, last.message.as_deref()), (Some(3.0), Some("step 3")));
        lab.mcp.release();
    };
    let (result, ()) = tokio::join!(call, releasing);
    assert_eq!(result.unwrap().text(), "released");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_call_is_canceled() {
    let Some(lab) = Lab::open() else { return };
    let (gateway, alice) = (lab.builder().build(), lab.user("alice"));
    let found = all_tools(&gateway, &alice).await;
    let wait = tool(&found, "orders", "wait");
    let steps = move || object(json!({ "steps": 0 }));
    let call = gateway.call_tool(wait, &alice, steps()).with_timeout(Duration::from_secs(10)).await;
    assert!(call.unwrap_err().is_timeout());
    lab.mcp.wait_for("cancelled", 1);

    let (agent, wait) = (gateway.clone(), wait.clone());
    let waiting = tokio::spawn(async move { agent.call_tool(&wait, &alice, steps()).await.map(drop) });
    lab.mcp.wait_for("tools/call", 2);
    waiting.abort();
    lab.mcp.wait_for("cancelled", 2);
    assert_eq!(lab.mcp.requests("notifications/cancelled").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_can_be_found_by_what_correlates_it() {
    let Some(lab) = Lab::open() else { return };
    let gateway = lab.builder().build();
    let filter = ToolFilter::new().with_ord_id("orders");
    let listing = gateway.list_tools(&Principal::System, &filter).with_correlation_id("listing-1");
    let found = listing.await.unwrap();
    let many = tool(&found, "orders", "many");
    gateway.call_tool(many, &Principal::System, Map::new()).with_correlation_id("call-1").await.unwrap();
    lab.mcp.revoke();
    gateway.call_tool(many, &Principal::System, Map::new()).with_correlation_id("call-2").await.unwrap();
    for _ in 0..2 {
        gateway.call_tool(many, &Principal::System, Map::new()).await.unwrap();
    }
    assert_eq!(lab.mcp.requests("tools/list")[0]["correlation"], "listing-1");
    let calls = lab.mcp.requests("tools/call");
    let ids: Vec<_> = calls.iter().map(|call| call["correlation"].as_str().unwrap()).collect();
    assert_eq!(ids[..3], ["call-1", "call-2", "call-2"], "also when it is sent again");
    assert!(ids[3].len() == 36 && ids[4].len() == 36 && ids[3] != ids[4], "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_language_models_accept_lead_back_to_their_tools() {
    let Some(lab) = Lab::open() else { return };
    let gateway = lab.builder().build();
    let found = all_tools(&gateway, &Principal::System).await;
    let names = ModelNames::new(found.tools.clone());
    assert_eq!(names.iter().count(), 5 * 8, "tools of one name at two servers stay two");
    let accepted = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    for (name, tool) in names.iter() {
        assert!(name.len() <= 64 && name.chars().all(accepted), "{name}");
        assert_eq!(ModelNames::name(tool), name);
    }
    let odd = found.tools.iter().find(|tool| tool.name().starts_with("stock: tell me")).unwrap();
    let chosen = names.tool(&ModelNames::name(odd)).unwrap();
    let result = gateway.call_tool(chosen, &Principal::System, Map::new()).await.unwrap();
    assert_eq!(result.text(), "much");
    assert_eq!(names.tool("add"), None, "a model that makes names up gets no tool");
}
