//! Tests with a corpus of hostile servers and agents. The gateway runs in a child process, whose memory is measured.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(target_os = "linux")]

mod authorization;
mod cards;
mod cases;
#[allow(dead_code, reason = "other tests use more of it")]
mod server;

use std::fs;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use agent_gateway::{
    AgentAddress, AgentCardError, AgentFilter, Credentials, Gateway, GatewayError, Principal, Server, ToolFilter,
};
use serde_json::{Map, Value, json};
use url::Url;

use cases::CASES;

/// The environment variable with the port of the servers. If it is set, the process is the client.
const PORT_VARIABLE: &str = "AGENT_GATEWAY_TEST_CLIENT";
/// The environment variable with the case of the client.
const CASE_VARIABLE: &str = "AGENT_GATEWAY_TEST_CASE";
/// The maximum peak memory of the client, in KiB.
const MAX_MEMORY: u64 = 64 * 1024;
/// The time limit for listing tools or agents, and for a call. Only cases without a complete response reach it.
const TIMEOUT: Duration = Duration::from_secs(8);
/// The time limit for listing many pages. It is long enough for a busy machine.
const LONG_TIMEOUT: Duration = Duration::from_secs(120);

/// Starts this test again as the client of the servers at `port`. Returns the line of JSON that it prints.
fn run_client(test: &str, port: u16, case: &str) -> Value {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture"])
        .env(PORT_VARIABLE, port.to_string())
        .env(CASE_VARIABLE, case)
        .env("MALLOC_ARENA_MAX", "2");
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "the client ended with {}", output.status);
    let output = String::from_utf8(output.stdout).unwrap();
    let line = output.lines().find_map(|line| line.split_once("RESULT ")).unwrap_or_else(|| panic!("{output}"));
    serde_json::from_str(line.1).unwrap()
}

/// Runs a future as the client, and prints its result and the peak memory of the process.
#[allow(clippy::print_stdout, reason = "the test reads the result from the output")]
fn run_as_client(future: impl Future<Output = Value>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(future);
    println!("RESULT {}", json!({ "result": result, "peak": peak_memory() }));
}

/// Returns the peak memory of this process, in KiB. Pages mapped from files do not count, because the
/// test binary is large: it contains all tests.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let kib = |name: &str| -> u64 {
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    };
    kib("VmHWM:").saturating_sub(kib("RssFile:"))
}

/// Returns the port of the servers if this process is the client.
fn server_port() -> Option<u16> {
    std::env::var(PORT_VARIABLE).ok().map(|port| port.parse().unwrap())
}

/// Returns a gateway for the server of a case.
fn gateway(port: u16, case: &str, timeout: Duration) -> Gateway {
    let url: Url = format!("http://127.0.0.1:{port}").parse().unwrap();
    let server = Server::behind(&url, case, "1").unwrap();
    let gateway = Gateway::builder(Credentials::new(url.join("/token").unwrap(), "c"), vec![server]);
    gateway.with_plain_loopback().with_discovery_timeout(timeout).with_call_timeout(timeout).build()
}

/// Describes an error, which must name the server of the case.
fn describe_gateway_error(case: &str, error: &GatewayError) -> Value {
    describe_error(case, error, error.server().is_some_and(|server| server.id() == case))
}

/// Describes an error: its text, whether the error and its text name the case, and whether the text is short and
/// without secrets and control characters.
fn describe_error(case: &str, error: &dyn std::error::Error, is_named: bool) -> Value {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    let is_named = is_named && text.contains(&format!("`{case}`"));
    let is_clean = !text.chars().any(char::is_control) && !text.contains("canary") && text.len() < 1500;
    json!({ "text": text, "names": is_named, "clean": is_clean })
}

/// Lists the tools of the server of a case, and calls the first one if the case is about calls. Returns the errors.
async fn case_errors(port: u16, case: &str) -> Vec<Value> {
    let gateway = gateway(port, case, TIMEOUT);
    let listing = gateway.list_tools(&Principal::System, &ToolFilter::new()).await.unwrap();
    let mut errors: Vec<_> = listing.errors.iter().map(|error| describe_gateway_error(case, error)).collect();
    if case.starts_with("call-") {
        let mut arguments = Map::new();
        arguments.insert("text".to_owned(), json!(format!("{}!", "a".repeat(5000))));
        let call_result = gateway.call_tool(&listing.tools[0], &Principal::System, arguments).await;
        errors.extend(call_result.err().map(|error| describe_gateway_error(case, &error)));
    }
    errors
}

#[test]
fn hostile_servers_cause_typed_errors_in_little_memory() {
    const TEST: &str = "hostile_servers_cause_typed_errors_in_little_memory";
    if let Some(port) = server_port() {
        return run_as_client(async { Value::Array(case_errors(port, &std::env::var(CASE_VARIABLE).unwrap()).await) });
    }
    assert!(CASES.len() >= 60, "{}", CASES.len());
    LazyLock::force(&cases::GZIP_BOMB);
    let port = server::start(cases::reply);
    let run_cases =
        |cases: &[&str]| cases.iter().for_each(|case| assert_case_passed(case, &run_client(TEST, port, case)));
    std::thread::scope(|scope| {
        for cases in CASES.chunks(CASES.len().div_ceil(4)) {
            scope.spawn(|| run_cases(cases));
        }
    });
}

/// Lists the agent of a case and a valid agent. Returns the errors.
async fn card_errors(port: u16, case: &str) -> Vec<Value> {
    let agent = |id: &str| AgentAddress::at(format!("http://127.0.0.1:{port}/v1/a2a/{id}/1").parse().unwrap(), id, "1");
    let credentials = Credentials::new(format!("http://127.0.0.1:{port}/token").parse().unwrap(), "c");
    let gateway = Gateway::builder(credentials, Vec::new()).with_agents([agent(case), agent("good")]);
    let gateway = gateway.with_plain_loopback().with_discovery_timeout(TIMEOUT).with_call_timeout(TIMEOUT).build();
    let listing = gateway.list_agents(&Principal::System, &AgentFilter::new()).await.unwrap();
    assert_eq!(listing.agents.len(), 1, "the valid agent is listed: {:?}", listing.errors);
    let has_expected_kind = |error: &AgentCardError| match case.split('-').next().unwrap() {
        "redirect" => error.is_redirect(),
        "type" | "document" | "field" | "name" | "skill" => error.is_invalid(),
        "url" => error.is_invalid() && error.field() == Some("supportedInterfaces[0].url"),
        "origin" => error.is_other_origin() || case == "origin-user" && error.is_invalid(),
        _ => true,
    };
    let describe = |error: &AgentCardError| {
        let is_named = error.agent().is_some_and(|agent| agent.id() == case) && has_expected_kind(error);
        describe_error(case, error, is_named)
    };
    listing.errors.iter().map(describe).collect()
}

#[test]
fn hostile_cards_cause_typed_errors_in_little_memory() {
    const TEST: &str = "hostile_cards_cause_typed_errors_in_little_memory";
    if let Some(port) = server_port() {
        return run_as_client(async { Value::Array(card_errors(port, &std::env::var(CASE_VARIABLE).unwrap()).await) });
    }
    assert!(cards::CASES.len() >= 50, "{}", cards::CASES.len());
    LazyLock::force(&cases::GZIP_BOMB);
    let port = server::start(cards::reply);
    let run_cases =
        |cases: &[&str]| cases.iter().for_each(|case| assert_case_passed(case, &run_client(TEST, port, case)));
    std::thread::scope(|scope| {
        for cases in cards::CASES.chunks(cards::CASES.len().div_ceil(4)) {
            scope.spawn(|| run_cases(cases));
        }
    });
}

/// Asserts that a case ended with errors that name the server, and did not need too much memory.
fn assert_case_passed(case: &str, result: &Value) {
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
    if let Some(port) = server_port() {
        return run_as_client(async {
            let gateway = gateway(port, "many", LONG_TIMEOUT);
            let listing = gateway.list_tools(&Principal::System, &ToolFilter::new()).strict().await.unwrap();
            json!([listing.tools.len(), listing.tools[9_999].name()])
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
    let result = run_client("ten_thousand_tools_are_listed_in_little_memory", port, "many");
    assert_eq!(result["result"], json!([10_000, "tool_9999"]));
    let peak = result["peak"].as_u64().unwrap();
    assert!(peak <= MAX_MEMORY, "{peak} KiB");
}
