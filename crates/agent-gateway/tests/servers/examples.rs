//! The examples, run as by users, except for the address of the gateway.

#[allow(dead_code, reason = "its `main` is not called")]
#[path = "../../examples/agent_loop.rs"]
mod agent_loop;
#[allow(dead_code, reason = "its `main` is not called")]
#[path = "../../examples/tools.rs"]
mod command;

use agent_gateway::{ModelNames, Principal};
use serde_json::{Value, json};

use crate::test_bed::{TestBed, all_tools, tool};

#[tokio::test(flavor = "multi_thread")]
async fn command_lists_and_calls_tools() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().build();
    let run = async |arguments: &[&str]| {
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        command::answer(&gateway, &Principal::System, &arguments).await
    };
    test_bed.mcp.fail_servers(&[("ledger", 503)]);
    let listed = run(&["list"]).await.unwrap();
    assert_eq!(listed["tools"].as_array().unwrap().len(), 4 * 8);
    assert!(listed["errors"][0].as_str().unwrap().contains("`ledger`"), "{listed}");
    assert_eq!(run(&["list", "stock"]).await.unwrap()["tools"][0]["name"], "add");
    assert_eq!(run(&["call", "stock", "add", r#"{ "a": 1, "b": 2 }"#]).await.unwrap()["text"], "3");
    let failed = run(&["call", "stock", "fail", r#"{ "reason": "no stock" }"#]).await.unwrap_err();
    assert!(failed.to_string().contains("no stock"), "{failed}");
    let unknown = run(&["call", "stock", "sub", "{}"]).await.unwrap_err();
    assert!(unknown.to_string().contains("`sub`"), "{unknown}");
    assert!(run(&["help"]).await.unwrap_err().to_string().contains("list ORD_ID"));
}

#[tokio::test(flavor = "multi_thread")]
async fn loop_continues_until_the_model_answers() {
    let Some(test_bed) = TestBed::open() else { return };
    let (gateway, alice) = (test_bed.builder().build(), test_bed.user("alice"));
    let found = all_tools(&gateway, &Principal::System).await;
    let name = |tool_name| ModelNames::name(tool(&found, "people", tool_name));
    let message = [
        json!({ "call": name("add"), "arguments": { "a": 20, "b": 22 } }),
        json!({ "call": name("add"), "arguments": { "a": "twenty" } }),
        json!({ "call": name("fail"), "arguments": { "reason": "no such person" } }),
        json!({ "call": "made_up" }),
        json!({ "call": name("whoami") }),
        json!("nonsense"),
        json!({ "call": name("learn"), "arguments": { "trick": "juggle" } }),
        json!({ "answer": "it is 42" }),
    ];
    let model = message.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let mut told = Vec::new();
    let response = agent_loop::converse(&gateway, &alice, model.as_bytes(), &mut told).await.unwrap();
    assert_eq!(response, "it is 42");
    let told: Vec<Value> =
        told.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(told[0]["tools"].as_array().unwrap().len(), 5 * 8);
    assert!(told[0]["tools"].as_array().unwrap().iter().all(|tool| tool["input_schema"]["type"] == "object"));
    assert_eq!(told[1]["result"]["result"], 42);
    assert!(told[2]["error"].as_str().unwrap().contains("`add`"), "{}", told[2]);
    assert!(told[3]["error"].as_str().unwrap().contains("no such person"), "{}", told[3]);
    assert!(told[4]["error"].as_str().unwrap().contains("`made_up`"), "{}", told[4]);
    assert_eq!(told[5]["result"]["sub"], "alice");
    assert!(told[6]["error"].is_string());
    assert_eq!(told[7]["result"]["result"], "juggle");
    assert_eq!(test_bed.tokens(), (1, 1, 2));
}
