//! The confirmation of submissions by the user of `aignostics mcp serve`.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use auth_http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::command::BINARY;
use crate::mcp::{Agent, upload_table};
use crate::packages::{installed, node, python};
use crate::shell::Shell;

const SERVE: [&str; 9] =
    ["--allow-submit", "--max-slides", "9", "--max-runs", "9", "--applications", "tissue", "--confirm-timeout", "1s"];

/// A client program that submits a table, and answers the question as its arguments specify.
struct Client<'a> {
    shell: &'a Shell,
    program: &'a Path,
    arguments: &'a [OsString],
    folder: Option<&'a Path>,
}

impl Client<'_> {
    /// Submits a table with this answer. Returns the report of the client, or `None` if the client exits while the
    /// question is open.
    fn submit(&self, answer: &str, file: &str) -> Option<Value> {
        let variables = self.shell.command(&[]);
        let variables = variables.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        let mut client = Command::new(self.program);
        client.args(self.arguments).args([answer, file, BINARY, "mcp", "serve"]).args(SERVE);
        client.env_clear().envs(variables).stdin(Stdio::null()).current_dir(self.shell.folder());
        client.envs(self.folder.map(|folder| ("PACKAGES", folder)));
        // The server inherits the stderr of the client, so that `output` returns after both have ended.
        let output = client.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{answer}: {errors}");
        (!output.stdout.is_empty()).then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    fn submissions(&self) -> usize {
        self.shell.served("api", "POST", "/api/v1/runs")
    }
}

/// Returns the SHA-256 of a file.
fn digest(shell: &Shell, file: &str) -> String {
    let bytes = fs::read(shell.folder().join(file)).unwrap();
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Checks all answers. `server_waits` is true if the server waits for the answer, so that the client receives an error
/// after the time limit.
fn check(name: &str, program: &Path, arguments: &[OsString], folder: Option<&Path>, server_waits: bool) {
    let shell = Shell::start();
    upload_table(&shell, "one", 1);
    upload_table(&shell, "two", 2);
    fs::copy(shell.folder().join("two.csv"), shell.folder().join("changed.csv")).unwrap();
    let client = Client { shell: &shell, program, arguments, folder };
    let question = |report: &Value| {
        let [question] = &report["questions"].as_array().unwrap()[..] else { panic!("{name}: {report}") };
        question.as_str().unwrap().to_owned()
    };
    let shown_digest = digest(&shell, "two.csv");
    for (answer, reason) in [
        ("decline", "the user did not confirm"),
        ("cancel", "the user did not confirm"),
        ("unchecked", "the user did not confirm"),
        ("silent", "did not answer within 1 s"),
        ("changed", "differs from the submission that the user confirmed"),
    ] {
        if answer == "silent" && !server_waits {
            continue;
        }
        let file = if answer == "changed" { "changed.csv" } else { "two.csv" };
        let report = client.submit(answer, file).unwrap();
        assert!(question(&report).starts_with("Submit 2 slides to tissue "), "{name}, {answer}: {report}");
        assert!(
            question(&report).contains(&format!("Table: {file}\nSHA-256: {shown_digest}")),
            "{name}, {answer}: {report}"
        );
        assert_eq!((&report["error"], &report["run"]), (&json!(true), &Value::Null), "{name}, {answer}: {report}");
        assert!(report["text"].as_str().unwrap().contains(reason), "{name}, {answer}: {report}");
    }
    assert_ne!(digest(&shell, "changed.csv"), shown_digest);
    assert!(client.submit("gone", "two.csv").is_none(), "{name}");
    assert_eq!(client.submissions(), 0, "{name}");

    let report = client.submit("accept", "two.csv").unwrap();
    assert_eq!(report["error"], false, "{name}: {report}");
    let run = report["run"].as_str().unwrap();
    let (_, run) = shell.api(Method::Get, &format!("/api/v1/runs/{run}"), None);
    let version = run["version_number"].as_str().unwrap();
    assert!(question(&report).starts_with(&format!("Submit 2 slides to tissue {version}?")), "{name}: {report}");
    assert!(
        question(&report).ends_with(&shown_digest) && run["statistics"]["item_count"] == 2,
        "{name}: {report} {run}"
    );
    assert_eq!(client.submissions(), 1, "{name}");
    // A client that cannot ask is limited by the budget alone.
    let report = client.submit("unsupported", "one.csv").unwrap();
    assert_eq!((&report["error"], &report["questions"]), (&json!(false), &json!([])), "{name}: {report}");
    assert_eq!(client.submissions(), 2, "{name}");
}

fn script(name: &str) -> OsString {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers").join(name).into()
}

#[test]
fn python_sdk_1_submits_only_what_the_user_accepts() {
    let Some(python) = python("mcp-1", include_str!("../peers/mcp-1/requirements.txt")) else { return };
    // This client reads no responses while it waits for the user, and therefore cannot receive the error.
    check("mcp 1", &python, &[script("mcp/confirm.py"), "sessions".into()], None, false);
}

#[test]
fn python_sdk_2_submits_only_what_the_user_accepts_over_every_lifecycle() {
    let Some(python) = python("mcp", include_str!("../peers/mcp/requirements.txt")) else { return };
    for (lifecycle, server_waits) in [("sessions", true), ("stateless", false)] {
        let arguments = [script("mcp/confirm.py"), lifecycle.into()];
        check(&format!("mcp 2, {lifecycle}"), &python, &arguments, None, server_waits);
    }
}

#[test]
fn typescript_sdks_submit_only_what_the_user_accepts() {
    let locked = include_str!("../peers/mcp-conformance/package-lock.json");
    let Some(folder) = installed("mcp-conformance", locked) else { return };
    for (version, server_waits) in [("1", true), ("2", false)] {
        let arguments = [script("mcp-conformance/confirm.cjs"), version.into()];
        check(&format!("TypeScript SDK {version}"), &node(&folder), &arguments, Some(&folder), server_waits);
    }
}

/// A stateless client repeats the call with the answer. The repeated call may differ from the call that the user
/// confirmed.
#[test]
fn answer_is_valid_only_for_the_submission_in_its_question() {
    let shell = Shell::start();
    upload_table(&shell, "one", 1);
    upload_table(&shell, "two", 2);
    let mut agent = Agent::start(&shell, "agent", true, &SERVE);
    agent.meta["io.modelcontextprotocol/clientCapabilities"] = json!({ "elicitation": {} });
    let arguments = |file: &str, tags: &[&str]| json!({ "application_id": "tissue", "file": file, "tags": tags });
    let accepting_responses = json!({ "confirmation": { "action": "accept", "content": { "confirm": true } } });
    let first_response =
        agent.request("tools/call", json!({ "name": "submit_run", "arguments": arguments("two.csv", &[]) }));
    let state = first_response["requestState"].as_str().unwrap().to_owned();
    assert!(first_response["inputRequests"]["confirmation"]["params"]["message"].is_string(), "{first_response}");
    let mut call_with_answer = |arguments: Value, state: Option<&str>| {
        let call = json!({
            "name": "submit_run", "arguments": arguments, "inputResponses": accepting_responses, "requestState": state,
        });
        agent.request("tools/call", call)
    };
    let assert_refused = |result: &Value| {
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        assert!(
            result["isError"] == true && text.contains("differs from the submission that the user confirmed"),
            "{result}"
        );
    };
    assert_refused(&call_with_answer(arguments("one.csv", &[]), Some(&state)));
    assert_refused(&call_with_answer(arguments("two.csv", &["other"]), Some(&state)));
    assert_refused(&call_with_answer(arguments("two.csv", &[]), None));
    assert_refused(&call_with_answer(arguments("two.csv", &[]), Some("0")));
    let path = shell.folder().join("two.csv");
    let before = fs::read_to_string(&path).unwrap();
    fs::write(&path, before.replace("LUNG", "LIVER")).unwrap();
    assert_refused(&call_with_answer(arguments("two.csv", &[]), Some(&state)));
    assert_eq!(shell.served("api", "POST", "/api/v1/runs"), 0);
    fs::write(&path, before).unwrap();
    let submitted = call_with_answer(arguments("two.csv", &[]), Some(&state));
    assert_eq!(submitted["structuredContent"]["submitted"], true, "{submitted}");
    // Another server process has another secret key.
    let mut other = Agent::start(&shell, "agent", true, &SERVE);
    other.meta["io.modelcontextprotocol/clientCapabilities"] = json!({ "elicitation": {} });
    let call = json!({
        "name": "submit_run", "arguments": arguments("two.csv", &[]), "inputResponses": accepting_responses, "requestState": state,
    });
    assert_refused(&other.request("tools/call", call));
    assert_eq!(shell.served("api", "POST", "/api/v1/runs"), 1);
}
