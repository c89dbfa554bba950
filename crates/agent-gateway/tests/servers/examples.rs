//! The examples. They run as for users, but with the gateway of the test.

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
        command::execute(&gateway, &Principal::System, &arguments).await
    };
    test_bed.mcp.fail_servers(&[("ledger", 503)]);
    let output = run(&["list"]).await.unwrap();
    assert_eq!(output["tools"].as_array().unwrap().len(), 4 * 8);
    assert!(output["errors"][0].as_str().unwrap().contains("`ledger`"), "{output}");
    assert_eq!(run(&["list", "stock"]).await.unwrap()["tools"][0]["name"], "add");
    assert_eq!(run(&["call", "stock", "add", r#"{ "a": 1, "b": 2 }"#]).await.unwrap()["text"], "3");
    let tool_error = run(&["call", "stock", "fail", r#"{ "reason": "no stock" }"#]).await.unwrap_err();
    assert!(tool_error.to_string().contains("no stock"), "{tool_error}");
    let unknown_tool_error = run(&["call", "stock", "sub", "{}"]).await.unwrap_err();
    assert!(unknown_tool_error.to_string().contains("`sub`"), "{unknown_tool_error}");
    assert!(run(&["help"]).await.unwrap_err().to_string().contains("list ORD_ID"));
}

#[tokio::test(flavor = "multi_thread")]
async fn loop_continues_until_the_model_answers() {
    let Some(test_bed) = TestBed::open() else { return };
    let (gateway, alice) = (test_bed.builder().build(), test_bed.user("alice"));
    let listing = all_tools(&gateway, &Principal::System).await;
    let name = |tool_name| ModelNames::name(tool(&listing, "people", tool_name));
    let model_messages = [
        json!({ "call": name("add"), "arguments": { "a": 20, "b": 22 } }),
        json!({ "call": name("add"), "arguments": { "a": "twenty" } }),
        json!({ "call": name("fail"), "arguments": { "reason": "no such person" } }),
        json!({ "call": "made_up" }),
        json!({ "call": name("whoami") }),
        json!("nonsense"),
        json!({ "call": name("learn"), "arguments": { "trick": "juggle" } }),
        json!({ "answer": "it is 42" }),
    ];
    let model = model_messages.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let mut output = Vec::new();
    let answer = agent_loop::converse(&gateway, &alice, model.as_bytes(), &mut output).await.unwrap();
    assert_eq!(answer, "it is 42");
    let sent_messages: Vec<Value> =
        output.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(sent_messages[0]["tools"].as_array().unwrap().len(), 5 * 8);
    assert!(sent_messages[0]["tools"].as_array().unwrap().iter().all(|tool| tool["input_schema"]["type"] == "object"));
    assert_eq!(sent_messages[1]["result"]["result"], 42);
    assert!(sent_messages[2]["error"].as_str().unwrap().contains("`add`"), "{}", sent_messages[2]);
    assert!(sent_messages[3]["error"].as_str().unwrap().contains("no such person"), "{}", sent_messages[3]);
    assert!(sent_messages[4]["error"].as_str().unwrap().contains("`made_up`"), "{}", sent_messages[4]);
    assert_eq!(sent_messages[5]["result"]["sub"], "alice");
    assert!(sent_messages[6]["error"].is_string());
    assert_eq!(sent_messages[7]["result"]["result"], "juggle");
    assert_eq!(test_bed.tokens(), (1, 1, 2));
}
