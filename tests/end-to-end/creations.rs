//! A signal or a timeout while something is created: its outcome is reported, not lost.

use std::fs;
use std::process::{Child, Command, Stdio};

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::Ended;
use crate::shell::{Shell, assert_fits};

const RUNS: &str = "/api/v1/runs";
const TOKENS: &str = "/api/v1/access/share-tokens";

/// Writes a submission to a file.
fn submission(shell: &Shell) {
    let slide = json!({ "name": "whole_slide_image", "download_url": "http://127.0.0.1:9/a", "metadata": {} });
    let item = json!({ "external_id": "a", "input_artifacts": [slide] });
    let submission = json!({ "application_id": "outcomes", "items": [item] });
    fs::write(shell.folder().join("submission.json"), submission.to_string()).unwrap();
}

/// Applies this effect to requests of the API that create something.
fn disturb(shell: &Shell, path: &str, effect: &Value) {
    let fault = json!({ "effect": effect, "server": "api", "method": "POST", "path": path });
    shell.control(Method::Post, "/faults", &fault);
}

fn late() -> Value {
    json!({ "kind": "latency", "milliseconds": 1500 })
}

fn never() -> Value {
    json!({ "kind": "stall", "after_bytes": 0 })
}

/// Starts a command, and sends it signals once the API has received its request.
fn interrupted(shell: &Shell, arguments: &[&str], path: &str, signals: &[&str]) -> Ended {
    let command = shell.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    shell.until("the request", |shell| shell.served("api", "POST", path) > 0);
    for name in signals {
        signal(&command, name);
    }
    Ended::of(&command.wait_with_output().unwrap())
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Returns the runs on the platform.
fn runs(shell: &Shell) -> Vec<String> {
    let (_, runs) = shell.api(Method::Get, RUNS, None);
    runs.as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn interrupted_submission_reports_its_run() {
    for more in [&[][..], &["--once", "study"]] {
        let shell = Shell::configured("speed = 1.0\n");
        submission(&shell);
        disturb(&shell, RUNS, &late());
        let submit = [&["run", "submit", "outcomes", "submission.json"], more].concat();
        let ended = interrupted(&shell, &submit, RUNS, &["INT"]);
        ended.assert_code(130);
        let run = ended.stdout.trim();
        shell.until("the run", |shell| runs(shell) == [run]);
        for part in
            ["continues on the platform and is billed", &format!("run wait {run}"), &format!("run cancel {run}")]
        {
            assert!(ended.stderr.contains(part), "{part} is missing: {}", ended.stderr);
        }
    }
}

#[test]
fn interrupted_execution_names_its_run_and_is_resumed() {
    let shell = Shell::configured("speed = 1.0\n");
    crate::slides::write_slide(&shell.folder().join("slides/a.tiff"));
    disturb(&shell, RUNS, &late());
    let execute = ["run", "execute", "tissue", "slides.csv", "slides", "--note", "it's one", "--resubmit"];
    let ended = interrupted(&shell, &execute, RUNS, &["TERM"]);
    ended.assert_code(143);
    shell.until("the run", |shell| runs(shell).len() == 1);
    let run = runs(&shell).remove(0);
    // A second `--resubmit` would be billed again.
    let resume = r"resume: aignostics run execute tissue slides.csv slides --note 'it'\''s one'";
    for part in ["SIGTERM", "is billed", resume, &format!("cancel: aignostics run cancel {run}")] {
        assert!(ended.stderr.contains(part), "{part} is missing: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("--resubmit"), "{}", ended.stderr);
    let resumed = shell.command(&execute[..5]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let path = format!("{RUNS}/{run}");
    let asked = shell.served("api", "GET", &path);
    shell.until("a request for the run", |shell| shell.served("api", "GET", &path) > asked);
    signal(&resumed, "INT");
    let ended = Ended::of(&resumed.wait_with_output().unwrap());
    ended.assert_code(130);
    assert!(ended.stderr.contains(&run) && runs(&shell).len() == 1, "{}", ended.stderr);
}

#[test]
fn unanswered_submission_is_uncertain_and_found_by_its_token() {
    let submit = ["run", "submit", "outcomes", "submission.json", "--format", "json"];
    // After some seconds, immediately, and at the timeout.
    let stops = [(&["TERM"][..], &[][..]), (&["INT", "INT"], &[]), (&[], &["--timeout", "2s"])];
    for (signals, more) in stops {
        let shell = Shell::configured("speed = 1.0\n");
        submission(&shell);
        disturb(&shell, RUNS, &never());
        let ended = interrupted(&shell, &[&submit, more].concat(), RUNS, signals);
        ended.assert_code(1);
        let error: Value = serde_json::from_str(&ended.stderr).unwrap();
        assert_fits("error", &error);
        assert_eq!((&error["error"]["kind"], ended.stdout.as_str()), (&json!("uncertain"), ""), "{error:#}");
        let details = error["error"]["details"].as_array().unwrap();
        let detail = |name: &str| details.iter().find_map(|line| line.as_str().unwrap().strip_prefix(name)).unwrap();
        let (token, found) = (detail("submission token: "), detail("look it up: "));
        shell.until("the run", |shell| !runs(shell).is_empty());
        let look_up = shell.command(&[]);
        let mut line = Command::new("sh");
        line.args(["-c", &found.replacen("aignostics", "\"$AIG\"", 1)]).env("AIG", look_up.get_program());
        line.envs(look_up.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let listed = Ended::of(&line.output().unwrap());
        listed.assert_code(0);
        assert!(listed.stdout.contains(&runs(&shell)[0]), "{token}: {}", listed.stdout);
    }
}

#[test]
fn interrupted_share_token_reports_its_secret() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    for path in [TOKENS, "/api/v1/access/grants"] {
        shell.control(Method::Delete, "/faults", &Value::Null);
        disturb(&shell, path, &late());
        let before = shell.served("api", "POST", path);
        let create = ["run", "share", "token", "create", &run, "--format", "json"];
        let command = shell.command(&create).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        shell.until("the request", |shell| shell.served("api", "POST", path) > before);
        signal(&command, "INT");
        let ended = Ended::of(&command.wait_with_output().unwrap());
        ended.assert_code(130);
        let token: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_fits("share-token-created", &token);
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
        disturb(&shell, path, &never());
        let ended = interrupted(&shell, arguments, path, &["INT", "INT"]);
        ended.assert_code(1);
        assert!(ended.stderr.contains("may exist"), "{}", ended.stderr);
    }
}
