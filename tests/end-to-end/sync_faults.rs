//! `aignostics run sync` with partial results, a closed pipe and expired runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::shell::Shell;
use crate::sync::{RUNS, WatchProcess, finished_run, ids, inject_status, outcome, statuses};

#[test]
fn items_in_processing_are_fetched_by_a_later_call() {
    let shell = Shell::start();
    let run = finished_run(&shell, &["a", "b"]);
    let path = format!("{RUNS}/{run}/items");
    let (_, mut items) = shell.api(Method::Get, &path, None);
    // Simulates a replica that lags behind: the run has ended, but one of its items has not.
    let unfinished_item = items.as_array_mut().unwrap().iter_mut().find(|item| item["external_id"] == "b").unwrap();
    unfinished_item["state"] = json!("PROCESSING");
    unfinished_item["output"] = json!("NONE");
    unfinished_item["termination_reason"] = Value::Null;
    unfinished_item["terminated_at"] = Value::Null;
    unfinished_item["output_artifacts"] = json!([]);
    let effect = json!({ "kind": "status", "status": 200, "body": items.to_string() });
    shell.control(
        Method::Post,
        "/faults",
        &json!({ "server": "api", "method": "GET", "path": path, "effect": effect }),
    );
    let (code, synced) = outcome(&shell, &["run", "sync", "results"]);
    assert_eq!((code, statuses(&synced)), (6, vec!["pending"]), "{synced:#}");
    assert!(synced[0]["failures"].to_string().contains("b: its results are not final"), "{synced:#}");
    assert!(shell.folder().join("results").join(&run).join("a").is_dir(), "partial results");
    shell.control(Method::Delete, "/faults", &Value::Null);
    let synced = shell.json("synced", &["run", "sync", "results"]);
    assert_eq!((ids(&synced), statuses(&synced)), (vec![&*run], vec!["fetched"]));
    assert!(shell.folder().join("results").join(&run).join("b").is_dir());
    let (files, fetched) = (synced[0]["files"].as_u64().unwrap(), synced[0]["fetched"].as_u64().unwrap());
    assert!(fetched > 0 && fetched < files, "the first files are not fetched again: {synced:#}");
    assert_eq!(shell.json("synced", &["run", "sync", "results"]), json!([]));
}

#[test]
fn closed_pipe_does_not_hide_missing_results() {
    let shell = Shell::start();
    let runs = [finished_run(&shell, &["a"]), finished_run(&shell, &["b"])];
    for format in ["table", "json", "jsonl"] {
        let sync_with_closed_pipe = |expected_code: i32| {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let mut command = shell.command(&["run", "sync", format, "--format", format, "--jobs", "1"]);
            let result = CommandResult::of(&command.stdout(Stdio::from(writer)).output().unwrap());
            assert_eq!(result.code, Some(expected_code), "{format}: {}", result.stderr);
        };
        inject_status(&shell, "storage", "*", 403, Some(2));
        sync_with_closed_pipe(6);
        shell.control(Method::Delete, "/faults", &Value::Null);
        // The call downloads all results although the pipe is closed.
        sync_with_closed_pipe(0);
        assert!(runs.iter().all(|run| shell.folder().join(format).join(run).is_dir()), "{format}");
        assert_eq!(shell.json("synced", &["run", "sync", format]), json!([]));
    }
}

#[test]
fn line_of_a_run_is_printed_when_its_download_ends() {
    let shell = Shell::start();
    let (first, second) = (finished_run(&shell, &["a"]), finished_run(&shell, &["b"]));
    let effect = json!({ "kind": "latency", "milliseconds": 600_000 });
    let path = format!("{RUNS}/{second}/artifacts/*");
    shell.control(
        Method::Post,
        "/faults",
        &json!({ "server": "api", "method": "GET", "path": path, "effect": effect }),
    );
    let mut command = shell.command(&["run", "sync", "results", "--format", "jsonl"]);
    let mut sync = WatchProcess(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let line = BufReader::new(sync.0.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let run: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&run["run_id"], &run["status"]), (&json!(first), &json!("fetched")));
}

#[test]
fn expired_run_is_fetched_only_with_a_new_filter() {
    let shell = Shell::start();
    let run = finished_run(&shell, &["a"]);
    assert_eq!(ids(&shell.json("synced", &["run", "sync", "results"])), [&*run]);
    // Simulates a run that ended long ago, so that its entry was removed.
    let (folder, path) = (shell.folder().join("results"), shell.folder().join("results/.aignostics/sync.json"));
    let mut state: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    (state["settled"], state["since"]) = (json!({}), json!(1_000_000));
    fs::write(&path, state.to_string()).unwrap();
    fs::remove_dir_all(folder.join(&run)).unwrap();
    fs::remove_file(folder.join("manifest.jsonl")).unwrap();
    assert_eq!(shell.json("synced", &["run", "sync", "results"]), json!([]));
    assert_eq!(shell.json("runs", &["run", "list", "--not-downloaded", "results"]), json!([]));
    let selected = ["run", "sync", "results", "--application-id", "outcomes"];
    assert_eq!(ids(&shell.json("synced", &selected)), [&*run]);
    assert_eq!(shell.json("synced", &selected), json!([]));
}
