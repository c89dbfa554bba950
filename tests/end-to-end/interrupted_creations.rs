//! Signals and timeouts during requests that create something. The outcome of the request is reported.

use std::fs;
use std::process::{Child, Command, Stdio};

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::shell::{Shell, assert_conforms};

const RUNS: &str = "/api/v1/runs";
const TOKENS: &str = "/api/v1/access/share-tokens";

fn write_submission(shell: &Shell) {
    let slide = json!({ "name": "whole_slide_image", "download_url": "http://127.0.0.1:9/a", "metadata": {} });
    let item = json!({ "external_id": "a", "input_artifacts": [slide] });
    let submission = json!({ "application_id": "outcomes", "items": [item] });
    fs::write(shell.folder().join("submission.json"), submission.to_string()).unwrap();
}

/// Applies this effect to POST requests for a path of the API.
fn inject_fault(shell: &Shell, path: &str, effect: &Value) {
    let fault = json!({ "effect": effect, "server": "api", "method": "POST", "path": path });
    shell.control(Method::Post, "/faults", &fault);
}

fn delayed_response() -> Value {
    json!({ "kind": "latency", "milliseconds": 1500 })
}

fn no_response() -> Value {
    json!({ "kind": "stall", "after_bytes": 0 })
}

/// Starts a command, and sends it signals once the API has received its request.
fn run_interrupted(shell: &Shell, arguments: &[&str], path: &str, signals: &[&str]) -> CommandResult {
    let command = shell.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    shell.wait_until("the request", |shell| shell.served("api", "POST", path) > 0);
    for name in signals {
        signal(&command, name);
    }
    CommandResult::of(&command.wait_with_output().unwrap())
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn runs(shell: &Shell) -> Vec<String> {
    let (_, runs) = shell.api(Method::Get, RUNS, None);
    runs.as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn interrupted_submission_reports_its_run() {
    for options in [&[][..], &["--once", "study"]] {
        let shell = Shell::with_config("speed = 1.0\n");
        write_submission(&shell);
        inject_fault(&shell, RUNS, &delayed_response());
        let submit = [&["run", "submit", "outcomes", "submission.json"], options].concat();
        let result = run_interrupted(&shell, &submit, RUNS, &["INT"]);
        result.assert_code(130);
        let run = result.stdout.trim();
        shell.wait_until("the run", |shell| runs(shell) == [run]);
        for part in
            ["continues on the platform and is billed", &format!("run wait {run}"), &format!("run cancel {run}")]
        {
            assert!(result.stderr.contains(part), "{part} is missing: {}", result.stderr);
        }
    }
}

#[test]
fn interrupted_execution_names_its_run_and_is_resumed() {
    let shell = Shell::with_config("speed = 1.0\n");
    crate::slides::write_slide(&shell.folder().join("slides/a.tiff"));
    inject_fault(&shell, RUNS, &delayed_response());
    let execute = ["run", "execute", "tissue", "slides.csv", "slides", "--note", "it's one", "--resubmit"];
    let result = run_interrupted(&shell, &execute, RUNS, &["TERM"]);
    result.assert_code(143);
    shell.wait_until("the run", |shell| runs(shell).len() == 1);
    let run = runs(&shell).remove(0);
    // A second `--resubmit` would be billed again.
    let resume = r"resume: aignostics run execute tissue slides.csv slides --note 'it'\''s one'";
    for part in ["SIGTERM", "is billed", resume, &format!("cancel: aignostics run cancel {run}")] {
        assert!(result.stderr.contains(part), "{part} is missing: {}", result.stderr);
    }
    assert!(!result.stderr.contains("--resubmit"), "{}", result.stderr);
    let resumed = shell.command(&execute[..5]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let path = format!("{RUNS}/{run}");
    let request_count = shell.served("api", "GET", &path);
    shell.wait_until("a request for the run", |shell| shell.served("api", "GET", &path) > request_count);
    signal(&resumed, "INT");
    let result = CommandResult::of(&resumed.wait_with_output().unwrap());
    result.assert_code(130);
    assert!(result.stderr.contains(&run) && runs(&shell).len() == 1, "{}", result.stderr);
}

#[test]
fn unanswered_submission_is_uncertain_and_found_by_its_token() {
    let submit = ["run", "submit", "outcomes", "submission.json", "--format", "json"];
    // The command stops some seconds after a signal, at the second signal, or at the timeout, which includes the
    // requests before the submission.
    let cases = [(&["TERM"][..], &[][..]), (&["INT", "INT"], &[]), (&[], &["--timeout", "8s"])];
    for (signals, options) in cases {
        let shell = Shell::with_config("speed = 1.0\n");
        write_submission(&shell);
        inject_fault(&shell, RUNS, &no_response());
        let result = run_interrupted(&shell, &[&submit, options].concat(), RUNS, signals);
        result.assert_code(1);
        let error: Value = serde_json::from_str(&result.stderr).unwrap();
        assert_conforms("error", &error);
        assert_eq!((&error["error"]["kind"], result.stdout.as_str()), (&json!("uncertain"), ""), "{error:#}");
        let details = error["error"]["details"].as_array().unwrap();
        let detail = |name: &str| {
            details.iter().find_map(|lookup_command| lookup_command.as_str().unwrap().strip_prefix(name)).unwrap()
        };
        let (token, lookup) = (detail("submission token: "), detail("look it up: "));
        shell.wait_until("the run", |shell| !runs(shell).is_empty());
        let prepared = shell.command(&[]);
        let mut lookup_command = Command::new("sh");
        lookup_command.args(["-c", &lookup.replacen("aignostics", "\"$AIG\"", 1)]).env("AIG", prepared.get_program());
        lookup_command.envs(prepared.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let lookup_result = CommandResult::of(&lookup_command.output().unwrap());
        lookup_result.assert_code(0);
        assert!(lookup_result.stdout.contains(&runs(&shell)[0]), "{token}: {}", lookup_result.stdout);
    }
}

#[test]
fn interrupted_share_token_reports_its_secret() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    for path in [TOKENS, "/api/v1/access/grants"] {
        shell.control(Method::Delete, "/faults", &Value::Null);
        inject_fault(&shell, path, &delayed_response());
        let before = shell.served("api", "POST", path);
        let create = ["run", "share", "token", "create", &run, "--format", "json"];
        let command = shell.command(&create).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        shell.wait_until("the request", |shell| shell.served("api", "POST", path) > before);
        signal(&command, "INT");
        let result = CommandResult::of(&command.wait_with_output().unwrap());
        result.assert_code(130);
        let token: Value = serde_json::from_str(&result.stdout).unwrap();
        assert_conforms("share-token-created", &token);
    }
    assert_eq!(shell.json("share-tokens", &["run", "share", "token", "list", &run]).as_array().unwrap().len(), 2);
}

#[test]
fn unanswered_share_token_and_grant_are_uncertain() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    let cases = [
        (TOKENS, &["run", "share", "token", "create", &run][..]),
        ("/api/v1/access/grants", &["run", "share", "organization", "grant", &run, "org_emulator"]),
    ];
    for (path, arguments) in cases {
        inject_fault(&shell, path, &no_response());
        let result = run_interrupted(&shell, arguments, path, &["INT", "INT"]);
        result.assert_code(1);
        assert!(result.stderr.contains("may exist"), "{}", result.stderr);
    }
}
