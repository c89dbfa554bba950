//! `aignostics mcp`: agents, over stdio and over HTTP.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use auth_http::{Method, Request};
use serde_json::{Value, json};

use crate::command::BINARY;
use crate::emulator::http;
use crate::shell::Shell;
use crate::slides::write_slide;

/// An MCP client, and the server process that it has started.
pub(crate) struct Agent {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    next: u64,
    /// The metadata in each request of a stateless client; empty for a client with a session.
    pub(crate) meta: Value,
}

impl Agent {
    /// Starts the server for a client with this name.
    pub(crate) fn start(shell: &Shell, name: &str, is_stateless: bool, arguments: &[&str]) -> Self {
        let mut command = shell.command(&[&["mcp", "serve"], arguments].concat());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let client = json!({ "name": name, "version": "1" });
        let mut agent = Self { process, input, output, next: 0, meta: json!({}) };
        if is_stateless {
            agent.meta = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": client, "io.modelcontextprotocol/clientCapabilities": {},
            });
            let discovered = agent.request("server/discover", json!({}));
            assert!(discovered["supportedVersions"].as_array().unwrap().contains(&json!("2026-07-28")), "{discovered}");
        } else {
            let initialization = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
            assert_eq!(agent.request("initialize", initialization)["serverInfo"]["name"], "aignostics");
            agent.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        }
        agent
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input, "{message}").unwrap();
    }

    /// Sends a request, and returns the response and the notifications before it.
    fn exchange(&mut self, method: &str, mut params: Value) -> (Value, Vec<Value>) {
        self.next += 1;
        if self.meta != json!({}) {
            params["_meta"] = self.meta.clone();
        }
        self.send(&json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params }));
        let mut notifications = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the server ended");
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["id"] == self.next {
                return (message, notifications);
            }
            notifications.push(message);
        }
    }

    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        let (response, _) = self.exchange(method, params);
        assert!(response["error"].is_null(), "{method}: {response}");
        response["result"].clone()
    }

    /// Calls a tool, whose result must match its schema.
    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let result = self.request("tools/call", json!({ "name": tool, "arguments": arguments }));
        assert_ne!(result["isError"], true, "{tool}: {result}");
        let tools = self.request("tools/list", json!({}));
        let listed_tool =
            tools["tools"].as_array().unwrap().iter().find(|listed_tool| listed_tool["name"] == tool).unwrap();
        let errors: Vec<_> = jsonschema::validator_for(&listed_tool["outputSchema"])
            .unwrap()
            .iter_errors(&result["structuredContent"])
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{tool}: {errors:?}");
        let text = result.to_string();
        assert!(!text.contains("download_url") && !text.to_ascii_lowercase().contains("signature="), "{text}");
        result
    }

    /// Calls a tool, which must fail, and returns the text of the error.
    fn call_expecting_error(&mut self, tool: &str, arguments: &Value) -> String {
        let result = self.request("tools/call", json!({ "name": tool, "arguments": arguments }));
        assert_eq!(result["isError"], true, "{tool}: {result}");
        assert!(result["structuredContent"].is_null(), "clients would validate it against the schema: {result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    fn tool_names(&mut self) -> Vec<String> {
        let tools = self.request("tools/list", json!({}));
        tools["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Uploads slides, and writes a table of them.
pub(crate) fn upload_table(shell: &Shell, name: &str, slides: usize) {
    for slide in 0..slides {
        write_slide(&shell.folder().join(format!("{name}/{slide}.tiff")));
    }
    let file = format!("{name}.csv");
    shell.run(&["run", "prepare", "tissue", &file, name, "--mapping", ".*:tissue=LUNG"]).assert_code(0);
    shell.run(&["run", "upload", "tissue", &file]).assert_code(0);
}

#[test]
fn agents_read_the_platform_over_every_lifecycle() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["succeeded", "user-error"]);
    for is_stateless in [false, true] {
        let mut agent = Agent::start(&shell, "agent", is_stateless, &[]);
        let names = agent.tool_names();
        assert!(names.len() == 11 && !names.contains(&"submit_run".to_owned()), "{names:?}");
        let applications = agent.call("list_applications", &json!({}));
        let applications = applications["structuredContent"]["applications"].as_array().unwrap();
        assert!(applications.iter().any(|application| application["application_id"] == "tissue"), "{applications:?}");
        let versions = agent.call("list_versions", &json!({ "application_id": "tissue" }));
        assert!(versions["structuredContent"]["selected"]["input_artifacts"].is_array(), "{versions}");
        let documents = agent.call("list_documents", &json!({ "application_id": "tissue" }));
        let uri = documents["structuredContent"]["documents"][0]["resource"].clone();
        let contents = agent.request("resources/read", json!({ "uri": uri }));
        assert_eq!(contents["contents"][0]["uri"], uri, "{contents}");
        agent.call("list_runs", &json!({}));
        let waited = agent.call("wait_for_run", &json!({ "run_id": run, "timeout_seconds": 60 }));
        assert_eq!(waited["structuredContent"]["run"]["run_id"], *run, "{waited}");
        agent.call("list_items", &json!({ "run_id": run }));
        agent.call("describe_run", &json!({ "run_id": run }));
        agent.call("explain_failure", &json!({ "run_id": run }));
        let error_text = agent.call_expecting_error("describe_run", &json!({ "run_id": "xx" }));
        assert!(error_text.contains("'xx'") && error_text.contains("hint: "), "{error_text}");
        let error_text = agent.call_expecting_error("verify_folder", &json!({ "folder": "/etc" }));
        assert!(error_text.contains("--folder"), "{error_text}");
        let prompts = agent.request("prompts/list", json!({}));
        assert_eq!(prompts["prompts"].as_array().unwrap().len(), 3);
        let prompt = agent.request("prompts/get", json!({ "name": "explain_run", "arguments": { "run_id": run } }));
        assert!(prompt.to_string().contains(&run), "{prompt}");
    }
}

#[test]
fn canceled_call_sends_no_more_requests() {
    let shell = Shell::with_arguments(&["--speed", "0.001"]);
    let runs = [shell.submit("outcomes", &["item"]), shell.submit("outcomes", &["item"])];
    let polls = |shell: &Shell, run: &str| shell.served("api", "GET", &format!("/api/v1/runs/{run}"));
    let mut agent = Agent::start(&shell, "agent", false, &[]);
    let send_wait_call = |agent: &mut Agent, run: &String| {
        let call = json!({ "name": "wait_for_run", "arguments": { "run_id": run, "timeout_seconds": 3600 } });
        agent.send(&json!({ "jsonrpc": "2.0", "id": run, "method": "tools/call", "params": call }));
    };
    send_wait_call(&mut agent, &runs[0]);
    shell.wait_until("the call waits", |shell| polls(shell, &runs[0]) > 0);
    agent.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": runs[0] } }));
    agent.request("ping", json!({}));
    let polls_before_cancellation = polls(&shell, &runs[0]);
    // The second call serves as a clock: while it sends requests, a first call that still waits would send some, too.
    send_wait_call(&mut agent, &runs[1]);
    shell.wait_until("the second call sends more requests", |shell| {
        polls(shell, &runs[1]) > polls_before_cancellation + 2
    });
    assert!(polls(&shell, &runs[0]) <= polls_before_cancellation + 1, "at most the request that was being sent");
}

#[test]
fn agents_read_and_verify_results() {
    let shell = Shell::start();
    upload_table(&shell, "slides", 1);
    let submitted = shell.run(&["run", "submit", "tissue", "slides.csv"]);
    submitted.assert_code(0);
    let run = submitted.stdout.trim().to_owned();
    shell.run(&["run", "download", &run, "results", "--follow"]).assert_code(0);
    let mut agent = Agent::start(&shell, "agent", false, &["--folder", "results", "--folder", "slides"]);
    let verified = agent.call("verify_folder", &json!({ "folder": "." }));
    assert_eq!(verified["structuredContent"]["intact"], true, "{verified}");
    let listed = agent.call("read_result", &json!({ "folder": "." }));
    let slide = listed["structuredContent"]["slides"][0].clone();
    let arguments = json!({ "folder": ".", "external_id": slide, "slide": "0.tiff" });
    let result = agent.call("read_result", &arguments);
    let results = result["structuredContent"]["results"].as_array().unwrap();
    assert!(results.iter().any(|file| file["rows"].is_array() || file["geojson"].is_object()), "{result}");
    let image = result["content"].as_array().unwrap().iter().find(|block| block["type"] == "image").unwrap();
    assert_eq!(image["mimeType"], "image/png");
    let resources = agent.request("resources/list", json!({}));
    let manifest = resources["resources"][0]["uri"].clone();
    let contents = agent.request("resources/read", json!({ "uri": manifest }));
    assert!(contents["contents"][0]["text"].as_str().unwrap().contains("crc32c"), "{contents}");
}

#[test]
fn agents_submit_within_a_budget_that_survives_them() {
    let shell = Shell::start();
    upload_table(&shell, "one", 1);
    upload_table(&shell, "two", 2);
    let limits = ["--allow-submit", "--max-slides", "2", "--max-runs", "5", "--applications", "tissue"];
    let mut claude = Agent::start(&shell, "claude", false, &limits);
    assert!(claude.tool_names().contains(&"submit_run".to_owned()));
    let validation = claude.call("validate_table", &json!({ "application_id": "tissue", "file": "two.csv" }));
    assert_eq!(
        (&validation["structuredContent"]["valid"], &validation["structuredContent"]["item_count"]),
        (&json!(true), &json!(2))
    );
    let first = claude.call("submit_run", &json!({ "application_id": "tissue", "file": "one.csv" }));
    assert_eq!(first["structuredContent"]["submitted"], true, "{first}");
    let again = claude.call("submit_run", &json!({ "application_id": "tissue", "file": "one.csv" }));
    assert_eq!(again["structuredContent"]["run_id"], first["structuredContent"]["run_id"]);
    assert_eq!(again["structuredContent"]["submitted"], false, "{again}");
    drop(claude);
    let mut cursor = Agent::start(&shell, "cursor", true, &limits);
    let error_text =
        cursor.call_expecting_error("submit_run", &json!({ "application_id": "tissue", "file": "two.csv" }));
    assert!(error_text.contains("--max-slides is 2, 1 used (claude: 1), 2 more requested"), "{error_text}");
    let error_text =
        cursor.call_expecting_error("submit_run", &json!({ "application_id": "outcomes", "file": "two.csv" }));
    assert!(error_text.contains("'outcomes'"), "{error_text}");
    assert_eq!(shell.served("api", "POST", "/api/v1/runs"), 1);
}

#[test]
fn http_server_listens_on_loopback_and_requires_its_token() {
    let shell = Shell::start();
    let mut command = shell.command(&["mcp", "serve", "--http", "0"]);
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let url = ready["url"].as_str().unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let initialization = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "a", "version": "1" } } });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let status = |token: Option<&str>, origin: Option<&str>| {
        let request = Request::new(Method::Post, url.parse().unwrap())
            .with_header("accept", "application/json, text/event-stream")
            .with_body("application/json", initialization.to_string());
        let request = token
            .into_iter()
            .fold(request, |request, token| request.with_header("authorization", format!("Bearer {token}")));
        let request = origin.into_iter().fold(request, |request, origin| request.with_header("origin", origin));
        runtime.block_on(async { http().send(request).await.unwrap().status() })
    };
    let token = ready["token"].as_str().unwrap();
    assert_eq!(status(Some(token), None), 200);
    assert_eq!((status(None, None), status(Some("wrong"), None)), (401, 401));
    assert_eq!(status(Some(token), Some("https://elsewhere.test")), 403);
    // DNS rebinding: a page whose host name resolves to 127.0.0.1 sends this name as `Host`, and no `Origin`, because
    // it considers the server its own.
    let port: u16 = url.trim_start_matches("http://127.0.0.1:").split('/').next().unwrap().parse().unwrap();
    let status_line = |host: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let body = initialization.to_string();
        write!(
            stream,
            "POST /mcp HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\naccept: application/json, \
             text/event-stream\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    };
    assert!(status_line(&format!("127.0.0.1:{port}")).contains(" 200 "));
    assert!(status_line("elsewhere.test").contains(" 403 "));
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn editor_configurations_start_the_server() {
    let shell = Shell::start();
    for (program, servers_member) in [("claude", "mcpServers"), ("cursor", "mcpServers"), ("vscode", "servers")] {
        let config = shell.run(&["mcp", "config", program, "--folder", "study"]);
        config.assert_code(0);
        let entry: Value = serde_json::from_str(&config.stdout).unwrap();
        let entry = &entry[servers_member]["aignostics"];
        assert_eq!(entry["command"], BINARY);
        assert_eq!(entry["args"], json!(["mcp", "serve", "--folder", shell.folder().join("study")]), "absolute");
    }
}

/// Runs the commands of the skill, as a coding agent would.
#[test]
fn commands_of_the_skill_succeed() {
    let skill = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/skills/aignostics/SKILL.md");
    let skill = fs::read_to_string(skill).unwrap();
    assert!(skill.starts_with("---\nname: aignostics\ndescription: "), "{skill}");
    let mut script = "set -eu\n".to_owned();
    let mut is_in_code_block = false;
    for line in skill.lines() {
        match line {
            "```sh" => is_in_code_block = true,
            "```" => is_in_code_block = false,
            line if is_in_code_block => script += &format!("{line}\n"),
            _ => {}
        }
    }
    assert!(script.matches("aignostics ").count() > 5, "{script}");
    let shell = Shell::start();
    write_slide(&shell.folder().join("slides/a.tiff"));
    let mut command = shell.command(&[]);
    let folder = Path::new(BINARY).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(folder.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let variables: Vec<_> =
        command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    command = std::process::Command::new("bash");
    command.args(["-c", &script]).env_clear().current_dir(shell.folder()).stdin(Stdio::null());
    command.envs(variables.into_iter().filter_map(|(name, value)| Some((name, value?)))).env("PATH", path.unwrap());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The server scenarios of the MCP conformance tests (npm `@modelcontextprotocol/conformance`) that need no particular
/// tool, resource or prompt. Each has the number of checks that fail.
const SCENARIOS: [(&str, usize); 12] = [
    ("server-initialize", 0),
    ("server-session-lifecycle", 0),
    // Four of the 25 checks need diagnostic tools, which this server does not have.
    ("server-stateless", 4),
    ("ping", 0),
    ("tools-list", 0),
    ("resources-list", 0),
    ("prompts-list", 0),
    ("http-header-validation", 0),
    ("caching", 0),
    ("sep-2164-resource-not-found", 0),
    ("server-sse-polling", 0),
    ("input-required-result-unsupported-methods", 0),
];

#[test]
fn server_scenarios_pass() {
    const LOCKED: &str = include_str!("../peers/mcp-conformance/package-lock.json");
    let Some(folder) = crate::packages::installed("mcp-conformance", LOCKED) else { return };
    let shell = Shell::start();
    let mut process = shell.command(&["mcp", "serve", "--http", "0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let mut problems = Vec::new();
    for (scenario, expected_failures) in SCENARIOS {
        let mut command = std::process::Command::new(crate::packages::node(&folder));
        let authorize = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/mcp-conformance/authorize.cjs");
        command.arg("--require").arg(authorize);
        command.arg(folder.join("node_modules/@modelcontextprotocol/conformance/dist/index.js"));
        command.args(["server", "--scenario", scenario, "--url", ready["url"].as_str().unwrap()]);
        command.env("TOKEN", ready["token"].as_str().unwrap()).current_dir(shell.folder());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let passed = text.lines().find(|line| line.starts_with("Passed: "));
        if !passed.is_some_and(|line| line.contains(&format!(", {expected_failures} failed"))) {
            problems.push(format!("{scenario}: {text}{}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
