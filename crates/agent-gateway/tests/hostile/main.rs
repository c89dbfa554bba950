//! A corpus of hostile servers and agents. The gateway runs in a separate process, whose memory is measured.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(target_os = "linux")]

mod authorization;
mod cards;
mod cases;
#[allow(dead_code, reason = "other tests use more of it")]
mod server;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use agent_gateway::{
    AgentAddress, AgentCardError, AgentFilter, Credentials, Gateway, GatewayError, Principal, Server, ToolFilter,
};
use serde_json::{Map, Value, json};
use url::Url;

use cases::CASES;

/// The variable that makes the test a client, with the port of the servers.
const CLIENT: &str = "AGENT_GATEWAY_TEST_CLIENT";
/// The variable with its case.
const CASE: &str = "AGENT_GATEWAY_TEST_CASE";
/// The maximum memory of the client, in KiB.
const MAX_MEMORY: u64 = 64 * 1024;
/// The time limit of a list and of a call. No case that responds comes near it.
const TIMEOUT: Duration = Duration::from_secs(8);
/// The time limit of a long list, on a busy machine.
const LONG_TIMEOUT: Duration = Duration::from_secs(120);

/// Starts this test again as the client of the servers at `port`. Returns what it prints: a line of JSON.
fn client(test: &str, port: u16, case: &str) -> Value {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture"])
        .env(CLIENT, port.to_string())
        .env(CASE, case)
        .env("MALLOC_ARENA_MAX", "2");
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "the client ended with {}", output.status);
    let output = String::from_utf8(output.stdout).unwrap();
    let line = output.lines().find_map(|line| line.split_once("RESULT ")).unwrap_or_else(|| panic!("{output}"));
    serde_json::from_str(line.1).unwrap()
}

/// Runs a future as the client, and prints its result and the memory that it needed.
#[allow(clippy::print_stdout, reason = "this is how it talks to the test")]
fn run(work: impl Future<Output = Value>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(work);
    println!("RESULT {}", json!({ "result": result, "peak": peak() }));
}

/// Returns the peak memory of this process, in KiB, without the pages of its binary, which the tests enlarge.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let kib = |name: &str| -> u64 {
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    };
    kib("VmHWM:").saturating_sub(kib("RssFile:"))
}

fn port() -> Option<u16> {
    std::env::var(CLIENT).ok().map(|port| port.parse().unwrap())
}

fn gateway(port: u16, case: &str, timeout: Duration) -> Gateway {
    let url: Url = format!("http://127.0.0.1:{port}").parse().unwrap();
    let server = Server::behind(&url, case, "1").unwrap();
    let gateway = Gateway::builder(Credentials::new(url.join("/token").unwrap(), "c"), vec![server]);
    gateway.with_plain_loopback().with_discovery_timeout(timeout).with_call_timeout(timeout).build()
}

/// Returns the text of an error of a server, or a problem with the error.
fn error_text(case: &str, error: &GatewayError) -> Value {
    text_of(case, error, error.server().is_some_and(|server| server.ord_id() == case))
}

/// Returns the text of an error, whether it names its case, and whether the text is clean.
fn text_of(case: &str, error: &dyn std::error::Error, is_named: bool) -> Value {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    let names = is_named && text.contains(&format!("`{case}`"));
    let is_clean = !text.chars().any(char::is_control) && !text.contains("canary") && text.len() < 1500;
    json!({ "text": text, "names": names, "clean": is_clean })
}

async fn errors(port: u16, case: &str) -> Vec<Value> {
    let gateway = gateway(port, case, TIMEOUT);
    let found = gateway.list_tools(&Principal::System, &ToolFilter::new()).await.unwrap();
    let mut errors: Vec<_> = found.errors.iter().map(|error| error_text(case, error)).collect();
    if case.starts_with("call-") {
        let mut arguments = Map::new();
        arguments.insert("text".to_owned(), json!(format!("{}!", "a".repeat(5000))));
        let called = gateway.call_tool(&found.tools[0], &Principal::System, arguments).await;
        errors.extend(called.err().map(|error| error_text(case, &error)));
    }
    errors
}

#[test]
fn hostile_servers_cause_typed_errors_in_little_memory() {
    const TEST: &str = "hostile_servers_cause_typed_errors_in_little_memory";
    if let Some(port) = port() {
        return run(async { Value::Array(errors(port, &std::env::var(CASE).unwrap()).await) });
    }
    assert!(CASES.len() >= 60, "{}", CASES.len());
    let port = server::start(cases::reply);
    let work = |cases: &[&str]| cases.iter().for_each(|case| check(case, &client(TEST, port, case)));
    std::thread::scope(|scope| {
        for cases in CASES.chunks(CASES.len().div_ceil(4)) {
            scope.spawn(|| work(cases));
        }
    });
}

/// Lists the agent of a case, next to a good one. Returns its error.
async fn card_errors(port: u16, case: &str) -> Vec<Value> {
    let agent = |id: &str| AgentAddress::at(format!("http://127.0.0.1:{port}/v1/a2a/{id}/1").parse().unwrap(), id, "1");
    let credentials = Credentials::new(format!("http://127.0.0.1:{port}/token").parse().unwrap(), "c");
    let gateway = Gateway::builder(credentials, Vec::new()).with_agents([agent(case), agent("good")]);
    let gateway = gateway.with_plain_loopback().with_discovery_timeout(TIMEOUT).with_call_timeout(TIMEOUT).build();
    let found = gateway.list_agents(&Principal::System, &AgentFilter::new()).await.unwrap();
    assert_eq!(found.agents.len(), 1, "the good agent is listed: {:?}", found.errors);
    let of_kind = |error: &AgentCardError| match case.split('-').next().unwrap() {
        "redirect" => error.is_redirect(),
        "type" | "document" | "field" | "name" | "skill" => error.is_invalid(),
        "url" => error.is_invalid() && error.field() == Some("supportedInterfaces[0].url"),
        "origin" => error.is_other_origin() || case == "origin-user" && error.is_invalid(),
        _ => true,
    };
    let shown = |error: &AgentCardError| {
        let is_named = error.agent().is_some_and(|agent| agent.id() == case) && of_kind(error);
        text_of(case, error, is_named)
    };
    found.errors.iter().map(shown).collect()
}

#[test]
fn hostile_cards_cause_typed_errors_in_little_memory() {
    const TEST: &str = "hostile_cards_cause_typed_errors_in_little_memory";
    if let Some(port) = port() {
        return run(async { Value::Array(card_errors(port, &std::env::var(CASE).unwrap()).await) });
    }
    assert!(cards::CASES.len() >= 50, "{}", cards::CASES.len());
    let port = server::start(cards::reply);
    let work = |cases: &[&str]| cases.iter().for_each(|case| check(case, &client(TEST, port, case)));
    std::thread::scope(|scope| {
        for cases in cards::CASES.chunks(cards::CASES.len().div_ceil(4)) {
            scope.spawn(|| work(cases));
        }
    });
}

/// Asserts that a case has ended in typed errors that name the server.
fn check(case: &str, result: &Value) {
    let errors = result["result"].as_array().unwrap();
    assert!(!errors.is_empty(), "{case}: no error");
    for error in errors {
        assert!(error["names"] == true && error["clean"] == true, "{case}: {error}");
    }
    let peak = result["peak"].as_u64().unwrap();
    assert!(peak <= MAX_MEMORY, "{case}: {peak} KiB");
}

#[test]
fn ten_thousand_tools_are_listed_in_little_memory() {
    if let Some(port) = port() {
        return run(async {
            let gateway = gateway(port, "many", LONG_TIMEOUT);
            let found = gateway.list_tools(&Principal::System, &ToolFilter::new()).strict().await.unwrap();
            json!([found.tools.len(), found.tools[9_999].name()])
        });
    }
    let port = server::start(|request| match request.method {
        "tools/list" => {
            let page = request.message["params"]["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
            let tool = |number: usize| {
                let text = json!({ "type": "string", "description": "An argument." });
                json!({
                    "name": format!("tool_{number}"), "description": "Does something useful.",
                    "inputSchema": { "type": "object", "properties": { "a": text, "b": text }, "required": ["a"] },
                })
            };
            let tools: Vec<_> = (page * 500..(page + 1) * 500).map(tool).collect();
            let mut result = json!({ "tools": tools });
            if page < 19 {
                result["nextCursor"] = json!((page + 1).to_string());
            }
            server::Reply::Json(request.result(&result))
        }
        _ => cases::reply(request),
    });
    let result = client("ten_thousand_tools_are_listed_in_little_memory", port, "many");
    assert_eq!(result["result"], json!([10_000, "tool_9999"]));
    let peak = result["peak"].as_u64().unwrap();
    assert!(peak <= MAX_MEMORY, "{peak} KiB");
}
