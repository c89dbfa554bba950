//! `aignostics run list`, `describe` and `wait`.

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::shell::{Shell, assert_conforms};

pub(crate) const UNKNOWN: &str = "00000000-0000-0000-0000-000000000000";

/// Submits a run with these metadata and items, given by name and outcome.
pub(crate) fn submit(shell: &Shell, metadata: &Value, items: &[(&str, &str)]) -> String {
    let items = items.iter().map(|(item, outcome)| {
        let slide = json!({ "name": "whole_slide_image", "download_url": "http://127.0.0.1:9/a?signature=secret",
            "metadata": { "outcome": outcome } });
        json!({ "external_id": item, "input_artifacts": [slide] })
    });
    let items: Vec<_> = items.collect();
    let body = json!({ "application_id": "outcomes", "items": items, "custom_metadata": metadata });
    let (status, response) = shell.api(Method::Post, "/api/v1/runs", Some(&body));
    assert_eq!(status, 201, "{response}");
    response["run_id"].as_str().unwrap().to_owned()
}

/// Returns a shell whose emulator processes an item in an hour or more.
pub(crate) fn slow_shell() -> Shell {
    Shell::with_config("speed = 0.1\n")
}

pub(crate) fn ids(runs: &Value) -> Vec<&str> {
    runs.as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap()).collect()
}

#[test]
fn runs_are_found_by_their_tags_and_notes() {
    let shell = Shell::start();
    let metadata = |tags: &[&str], note: &str| json!({ "sdk": { "tags": tags, "note": note }, "study": note.len() });
    let first = submit(&shell, &metadata(&["x", "y"], "Second reading (a+b)"), &[("a", "SUCCEEDED")]);
    let second = submit(&shell, &metadata(&["x", "it's \"quoted\" \\"], "first"), &[("b", "SUCCEEDED")]);
    let third = submit(&shell, &Value::Null, &[("c", "SUCCEEDED")]);
    for run in [&first, &second, &third] {
        shell.run(&["run", "wait", run]).assert_code(0);
    }
    for (filter, expected_runs) in [
        (&[][..], vec![&third, &second, &first]),
        (&["--sort", "submitted_at"], vec![&first, &second, &third]),
        (&["--limit", "2"], vec![&third, &second]),
        (&["--limit", "0"], vec![]),
        (&["--tags", "x"], vec![&second, &first]),
        (&["--tags", "x, y"], vec![&first]),
        (&["--tags", "it's \"quoted\" \\"], vec![&second]),
        (&["--tags", "X"], vec![]),
        (&["--note-regex", "^second"], vec![&first]),
        (&["--note-regex", "^second", "--no-note-case-insensitive"], vec![]),
        (&["--note-regex", "^Second", "--no-note-case-insensitive", "--tags", "y"], vec![&first]),
        (&["--note-regex", "^Second", "--tags", "y,z"], vec![]),
        (&["--query", "a+B"], vec![&first]),
        (&["--query", "QUOTED"], vec![&second]),
        (&["--query", "s"], vec![&second, &first]),
        (&["--query", "."], vec![]),
        (&["--custom-metadata", "$.study ? (@ == 5)"], vec![&second]),
        (&["--external-id", "c"], vec![&third]),
        (&["--application-id", "outcomes"], vec![&third, &second, &first]),
        (&["--application-id", "tissue"], vec![]),
        (&["--application-version", "0.0.1-no-version"], vec![]),
        (&["--submitted-by", "me"], vec![&third, &second, &first]),
        (&["--submitted-by", "nobody"], vec![]),
        (&["--organization-id", "my_org"], vec![&third, &second, &first]),
        (&["--for-organization", "org_emulator"], vec![&third, &second, &first]),
        (&["--state", "terminated"], vec![&third, &second, &first]),
        (&["--state", "PENDING"], vec![]),
        (&["--note-case-insensitive", "--no-verbose", "--note-regex", "FIRST"], vec![&second]),
    ] {
        let found = shell.json("runs", &[&["run", "list"], filter].concat());
        assert_eq!(ids(&found), expected_runs, "{filter:?}");
    }
}

#[test]
fn invalid_run_id_is_refused_before_anything_is_sent() {
    let shell = Shell::start();
    for arguments in [&["describe"][..], &["wait"], &["watch"], &["cancel"], &["download"], &["dump-metadata"]] {
        let error = shell.error(2, &[&["run"], arguments, &["no-uuid"]].concat());
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("invalid run id: expected a UUID") && !message.contains("--help"), "{message}");
    }
    assert_eq!(shell.served("api", "GET", "/api"), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn ids_and_bars_fit_a_terminal() {
    let shell = Shell::start();
    let run = submit(&shell, &json!({}), &[("a", "SUCCEEDED"), ("b", "SUCCEEDED")]);
    shell.run(&["run", "wait", &run]).assert_code(0);
    let lists = shell.lines_on_terminal(&["run", "list"]);
    assert!(lists.iter().any(|line| line.trim_start().starts_with(&run)), "{lists:#?}");
    let bars = shell.lines_on_terminal(&["run", "download", &run, "results"]);
    assert!(bars.iter().any(|line| line.contains("items ")), "{bars:#?}");
    for line in
        lists.iter().chain(&bars).filter(|line| !line.starts_with("results: ") && !line.starts_with("manifest: "))
    {
        // Bars that fill the width are drawn without a line break.
        let columns: Vec<_> = line.chars().collect();
        for part in columns.chunks(80).skip(1).map(|part| part.iter().collect::<String>()) {
            assert!(part.starts_with("items ") || part.starts_with("bytes "), "{line}");
        }
    }
}

#[test]
fn similar_names_are_suggested() {
    let shell = Shell::start();
    for arguments in [
        &["application", "describe", "he-tem"][..],
        &["application", "version", "list", "he-tem"],
        &["application", "dump-schemata", "he-tem"],
        &["run", "prepare", "he-tem", "slides.csv", "."],
    ] {
        let error = shell.error(2, arguments);
        assert_eq!(
            (&error["kind"], &error["message"]),
            (&json!("not_found"), &json!("application 'he-tem' does not exist"))
        );
        assert_eq!(error["details"][0], "did you mean 'he-tme'?", "{error:#}");
    }
    let run = submit(&shell, &json!({}), &[("slide-a", "SUCCEEDED"), ("slide-b", "SUCCEEDED")]);
    shell.run(&["run", "wait", &run]).assert_code(0);
    let error = shell.error(2, &["run", "download", &run, "results", "--item", "slide_a"]);
    assert_eq!(error["details"][0], "did you mean 'slide-a'?", "{error:#}");
    let error = shell.error(2, &["run", "describe", "00000000-0000-4000-8000-000000000000"]);
    assert_eq!(error["remedy"], "`aignostics run list` lists the runs");
}

#[test]
fn list_is_a_table_or_json_lines() {
    let shell = Shell::start();
    assert_eq!(shell.run(&["run", "list"]).stderr, "nothing to show\n");
    let note = json!({ "sdk": { "tags": ["x", "\u{1b}[31m"] } });
    let run = submit(&shell, &note, &[("good", "SUCCEEDED"), ("bad", "USER_ERROR")]);
    shell.run(&["run", "wait", &run]).assert_code(6);
    let lines = shell.run(&["run", "list", "--format", "jsonl"]).stdout;
    assert_conforms("run", &serde_json::from_str(lines.trim_end()).unwrap());
    insta::assert_snapshot!("run_list", shell.transcript(&["run", "list", "--format", "text"]));
    let verbose = shell.run(&["run", "list", "--verbose"]);
    assert!(verbose.row(&run).contains("auth0|emulator-1 x, \\u{1b}[31m"), "{}", verbose.stdout);
    assert!(!verbose.stdout.contains('\u{1b}'));
}

#[test]
fn long_list_is_complete_and_a_limit_saves_pages() {
    let shell = Shell::start();
    let runs: Vec<_> = (0..101).map(|_| shell.submit("outcomes", &["a"])).collect();
    shell.run(&["run", "wait", &runs[100]]).assert_code(0);
    let request_count = || shell.served("api", "GET", "/api/v1/runs");
    let before = request_count();
    let lines = shell.run(&["run", "list", "--format", "jsonl", "--sort", "submitted_at"]);
    let found: Vec<Value> = lines.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found.iter().map(|run| run["run_id"].as_str().unwrap()).collect::<Vec<_>>(), runs);
    assert!(request_count() - before >= 2, "a page has at most 100 runs");
    let before = request_count();
    assert_eq!(shell.json("runs", &["run", "list", "--limit", "7"]).as_array().unwrap().len(), 7);
    assert_eq!(request_count() - before, 1);
}

#[test]
fn expiring_results_are_listed() {
    let shell = Shell::start();
    shell.control(Method::Post, "/clock", &json!({ "seconds": -26 * 86_400 }));
    let old = submit(&shell, &Value::Null, &[("a", "SUCCEEDED")]);
    let empty = submit(&shell, &Value::Null, &[("a", "USER_ERROR")]);
    for run in [&old, &empty] {
        wait_for_end(&shell, run);
    }
    shell.control(Method::Post, "/clock", &json!({ "seconds": 26 * 86_400 }));
    let new = submit(&shell, &Value::Null, &[("a", "SUCCEEDED")]);
    shell.run(&["run", "wait", &new]).assert_code(0);
    for (time, expected_runs) in [("5d", vec![&old]), ("3d", vec![]), ("31d", vec![&new, &old])] {
        let found = shell.json("runs", &["run", "list", "--expiring", time]);
        assert_eq!(ids(&found), expected_runs, "{time}: a run without results is not listed");
    }
    let table = shell.run(&["run", "list", "--expiring", "5d"]);
    assert!(table.stdout.contains("results until") && table.row(&old).ends_with("in 3 d"), "{}", table.stdout);
    for time in ["soon", "5"] {
        assert_eq!(shell.error(2, &["run", "list", "--expiring", time])["kind"], "bad_input");
    }
}

/// Polls until the run has terminated.
fn wait_for_end(shell: &Shell, run: &str) {
    while shell.api(Method::Get, &format!("/api/v1/runs/{run}"), None).1["state"] != "TERMINATED" {}
}

#[test]
fn invalid_list_arguments_are_reported() {
    let shell = Shell::start();
    assert_eq!(shell.error(2, &["run", "list", "--for-organization", "org_second"])["kind"], "not_found");
    for arguments in [
        &["--custom-metadata", "$.a ? ("][..],
        &["--note-regex", "("],
        &["--sort", "colour"],
        &["--query", "a", "--tags", "b"],
        &["--query", "a", "--note-regex", "b"],
        &["--state", "gone"],
        &["--limit", "-1"],
    ] {
        assert_eq!(shell.error(2, &[&["run", "list"], arguments].concat())["kind"], "bad_input", "{arguments:?}");
    }
    let refuse = |status: u16| {
        let fault =
            json!({ "effect": { "kind": "status", "status": status }, "server": "api", "path": "/api/v1/runs*" });
        shell.control(Method::Post, "/faults", &fault);
    };
    refuse(403);
    assert_eq!(shell.error(4, &["run", "list"])["kind"], "forbidden");
    shell.control(Method::Delete, "/faults", &Value::Null);
    let mut offline = shell.command(&["run", "list", "--format", "json", "--timeout", "1s"]);
    offline.env("AIGNOSTICS_API_ROOT", "http://127.0.0.1:9");
    let result = CommandResult::of(&offline.output().unwrap());
    result.assert_code(1);
    assert_eq!(result.stdout, "");
}

#[test]
fn run_is_described_with_item_outcomes() {
    let shell = Shell::start();
    let metadata = json!({ "study": "\u{1b}[31m" });
    let run = submit(&shell, &metadata, &[("good", "SUCCEEDED"), ("bad", "USER_ERROR")]);
    shell.run(&["run", "wait", &run]).assert_code(6);
    let described = shell.json("run-description", &["run", "describe", &run]);
    let items = described["items"].as_array().unwrap();
    let outcomes: Vec<_> = items.iter().map(|item| (&item["external_id"], &item["outcome"])).collect();
    assert_eq!(outcomes, [(&json!("good"), &json!("succeeded")), (&json!("bad"), &json!("user_error"))]);
    assert!(!described.to_string().contains("signature=secret"), "a signed URL is printed");
    insta::assert_snapshot!("run_describe", shell.transcript(&["run", "describe", &run]));
    insta::assert_snapshot!("run_describe_summary", shell.transcript(&["run", "describe", &run, "--summarize"]));

    assert_eq!(shell.error(2, &["run", "describe", UNKNOWN])["kind"], "not_found");
    assert_eq!(shell.error(2, &["run", "describe", "no-uuid"])["kind"], "bad_input");
    let missing = shell.error(2, &["run", "describe", &run, "--share-token-file", "nothing"]);
    assert!(missing["message"].as_str().unwrap().contains("share token"), "{missing}");
    let with_python_options = shell.run(&["run", "describe", &run, "-s", "--format", "text"]);
    with_python_options.assert_code(0);
}

#[test]
fn wait_ends_with_the_run_and_shows_its_outcome() {
    let shell = Shell::start();
    let successful = shell.submit("outcomes", &["a", "b"]);
    let run = shell.json("run", &["run", "wait", &successful]);
    assert_eq!((&run["outcome"], &run["statistics"]["item_succeeded_count"]), (&json!("completed"), &json!(2)));
    let partly_failed = submit(&shell, &Value::Null, &[("a", "SUCCEEDED"), ("b", "SYSTEM_ERROR")]);
    let result = shell.run(&["run", "wait", &partly_failed, "--format", "json"]);
    result.assert_code(6);
    assert_eq!(serde_json::from_str::<Value>(&result.stdout).unwrap()["outcome"], "completed_with_errors");
    let table = shell.run(&["run", "wait", &partly_failed]);
    assert_eq!((table.row("items"), table.code), ("items 2 (1 succeeded, 1 system error)".to_owned(), Some(6)));
    assert_eq!(table.stderr, "error: the run did not complete: completed with errors\n");
    let error: Value = serde_json::from_str(&result.stderr).unwrap();
    assert_eq!(error["error"]["message"], "the run did not complete: completed with errors");
    assert_eq!(shell.error(2, &["run", "wait", UNKNOWN, "--timeout", "1m"])["kind"], "not_found");
}

#[test]
fn wait_fails_after_its_timeout() {
    let shell = slow_shell();
    let run = shell.submit("outcomes", &["a"]);
    let error = shell.error(1, &["run", "wait", &run, "--timeout", "1s"]);
    assert_eq!((&error["kind"], error["remedy"].as_str().unwrap().contains("--timeout")), (&json!("time_out"), true));
}
