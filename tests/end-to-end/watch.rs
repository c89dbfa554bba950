//! `aignostics run watch`: waits and prints only new events, for automation.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::shell::{Shell, assert_conforms};

/// Returns the events of a watch, each of which conforms to the schema.
fn events(result: &CommandResult) -> Vec<Value> {
    let events: Vec<Value> = result.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in &events {
        assert_conforms("run-event", event);
    }
    events
}

fn watch(shell: &Shell, arguments: &[&str]) -> Vec<Value> {
    let result = shell.run(&[&["run", "watch", "--format", "jsonl", "--quiet"], arguments].concat());
    result.assert_code(0);
    assert_eq!(result.stderr, "");
    events(&result)
}

fn without_cursors(events: &[Value]) -> BTreeSet<String> {
    let name = |event: &Value| {
        let item = event.pointer("/item/external_id").or(event.get("external_id"));
        format!("{} {} {}", event["event"], item.unwrap_or(&Value::Null), event["artifact_id"])
    };
    events.iter().map(name).collect()
}

#[test]
fn each_item_is_reported_and_the_end_of_the_run_last() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a", "b", "c"]);
    let events = watch(&shell, &[&run]);
    let items: BTreeSet<_> = events[..3].iter().map(|event| event["item"]["external_id"].as_str().unwrap()).collect();
    assert_eq!(items, BTreeSet::from(["a", "b", "c"]));
    assert_eq!((events.len(), &events[3]["event"]), (4, &json!("run_ended")));
    assert_eq!(events[3]["run"]["outcome"], "completed");
    let document: Vec<Value> =
        serde_json::from_str(&shell.run(&["run", "watch", &run, "--format", "json"]).stdout).unwrap();
    assert_eq!(
        (without_cursors(&document), document.last()),
        (without_cursors(&events), events.last()),
        "one document with the same events"
    );
    let table = shell.run(&["run", "watch", &run]);
    assert_eq!(table.stdout.lines().last(), Some(format!("run {run}: completed").as_str()));
    assert!(table.stdout.lines().any(|line| line == "b: succeeded"), "{}", table.stdout);
}

/// Writes the state file of a watch that has reported these events. Returns its name.
fn state_file(shell: &Shell, run: &str, events: &[Value]) -> String {
    let name =
        format!("state-{}-{}", events.len(), events.iter().filter(|event| event["artifact_id"].is_string()).count());
    let id = |event: &Value| {
        let id = event["artifact_id"].as_str().or(event["item"]["item_id"].as_str()).unwrap_or(run);
        format!("{}\n", json!({ "told": id }))
    };
    let lines: String = events.iter().map(id).collect();
    std::fs::write(shell.folder().join(&name), format!("{}\n{lines}", json!({ "run": run }))).unwrap();
    name
}

#[test]
fn cursor_is_short_and_nothing_after_it_is_missed() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a", "b", "c"]);
    let all = watch(&shell, &[&run]);
    for (index, event) in all.iter().enumerate() {
        let cursor = event["cursor"].as_str().unwrap();
        assert!(cursor.len() <= 200, "{cursor}");
        let rest = watch(&shell, &[&run, "--cursor", cursor]);
        assert!(without_cursors(&rest).is_superset(&without_cursors(&all[index + 1..])), "after {cursor}");
        let state = state_file(&shell, &run, &all[..=index]);
        let rest = watch(&shell, &[&run, "--cursor", cursor, "--state", &state]);
        assert_eq!((without_cursors(&rest), rest.len()), (without_cursors(&all[index + 1..]), all.len() - index - 1));
        assert!(watch(&shell, &[&run, "--state", &state]).is_empty(), "the state file contains every event");
    }
}

#[test]
fn files_are_reported_once_when_complete() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a", "b"]);
    let all = watch(&shell, &[&run, "--download", "results"]);
    let files: Vec<_> = all.iter().filter(|event| event["event"] == "artifact_verified").collect();
    assert!(files.len() >= 2, "{all:#?}");
    for file in &files {
        let path = shell.folder().join("results").join(file["file"].as_str().unwrap());
        assert_eq!(std::fs::metadata(path).unwrap().len(), file["bytes"].as_u64().unwrap());
        assert_eq!(file["verification"], "declared");
    }
    assert_eq!(all.last().unwrap()["event"], "run_ended");
    for (index, event) in all.iter().enumerate() {
        let cursor = event["cursor"].as_str().unwrap();
        let rest = watch(&shell, &[&run, "--download", "results", "--cursor", cursor]);
        assert!(without_cursors(&rest).is_superset(&without_cursors(&all[index + 1..])), "after {cursor}");
        // On another machine, without the files.
        let (elsewhere, state) = (format!("elsewhere-{index}"), state_file(&shell, &run, &all[..=index]));
        let rest = watch(&shell, &[&run, "--download", &elsewhere, "--cursor", cursor, "--state", &state]);
        assert_eq!(without_cursors(&rest), without_cursors(&all[index + 1..]), "after {cursor}");
    }
    let fetched = shell.served("storage", "GET", "/");
    let (end, state) = (all.last().unwrap()["cursor"].as_str().unwrap(), state_file(&shell, &run, &all));
    let rest = watch(&shell, &[&run, "--download", "results", "--cursor", end, "--state", &state]);
    assert_eq!(rest, Vec::<Value>::new());
    assert_eq!(shell.served("storage", "GET", "/"), fetched, "existing files are not fetched again");
}

#[test]
fn missing_and_altered_files_are_fetched_again_with_a_state_file() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a", "b"]);
    let arguments = [run.as_str(), "--download", "results", "--state", "told"];
    let all = watch(&shell, &arguments);
    let files: Vec<_> = all.iter().filter_map(|event| event["file"].as_str()).collect();
    let path = |file: &str| shell.folder().join("results").join(file);
    let content = std::fs::read(path(files[1])).unwrap();
    std::fs::remove_file(path(files[0])).unwrap();
    std::fs::write(path(files[1]), vec![0; content.len()]).unwrap();
    assert_eq!(watch(&shell, &arguments), Vec::<Value>::new(), "no event is repeated");
    assert_eq!(std::fs::read(path(files[1])).unwrap(), content);
    shell.run(&["run", "verify", "results"]).assert_code(0);
    // A manifest that was deleted is written again.
    let hidden = std::fs::read_dir(shell.folder().join("results")).unwrap().map(Result::unwrap);
    let manifest = hidden.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("manifest")).unwrap();
    std::fs::remove_file(&manifest).unwrap();
    assert_eq!(watch(&shell, &arguments), Vec::<Value>::new());
    assert!(manifest.exists());
    shell.run(&["run", "verify", "results"]).assert_code(0);
}

#[test]
fn item_is_reported_while_the_run_is_active() {
    // The run would take ten minutes, and ends when it is canceled.
    let shell = Shell::with_config("speed = 1.0\n");
    let run = shell.submit("outcomes", &["a"]);
    let mut command = shell.command(&["run", "watch", &run, "--format", "jsonl"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while shell.api(Method::Get, &format!("/api/v1/runs/{run}/items"), None).0 == 404 {}
    shell.run(&["run", "cancel", &run]).assert_code(0);
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&first["event"], &first["item"]["outcome"]), (&json!("item_ended"), &json!("skipped")));
    let last: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(last["run"]["outcome"], "cancelled_by_user");
    assert_eq!(child.wait().unwrap().code(), Some(6));
}

#[test]
fn failed_file_is_reported_and_retried_by_the_next_call() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    let gone = json!({ "effect": { "kind": "status", "status": 403 }, "server": "storage" });
    shell.control(Method::Post, "/faults", &gone);
    let result = shell.run(&["run", "watch", &run, "--download", "results", "--format", "jsonl"]);
    result.assert_code(6);
    let first = events(&result);
    assert!(first.iter().any(|event| event["event"] == "artifact_failed"), "{first:#?}");
    assert!(first.iter().all(|event| event["event"] != "artifact_verified"), "{first:#?}");
    shell.control(Method::Delete, "/faults", &Value::Null);
    let cursor = first.last().unwrap()["cursor"].as_str().unwrap();
    let rest = watch(&shell, &[&run, "--download", "results", "--cursor", cursor]);
    assert!(rest.iter().any(|event| event["event"] == "artifact_verified"), "{rest:#?}");
    assert!(rest.iter().all(|event| event["event"] != "run_ended"), "{rest:#?}");
}

#[test]
fn cursor_of_another_run_is_refused() {
    let shell = Shell::start();
    let runs = [shell.submit("outcomes", &["a"]), shell.submit("outcomes", &["a"])];
    let other = watch(&shell, &[&runs[1]]).pop().unwrap();
    for cursor in ["", "nonsense", other["cursor"].as_str().unwrap()] {
        let error = shell.error(2, &["run", "watch", &runs[0], "--cursor", cursor]);
        assert_eq!((&error["kind"], &error["message"]), (&json!("bad_input"), &json!("the cursor cannot be used")));
    }
    let state = state_file(&shell, &runs[1], &[]);
    assert_eq!(shell.error(2, &["run", "watch", &runs[0], "--state", &state])["kind"], "bad_input");
}

#[test]
fn invalid_watch_is_reported_with_a_reason() {
    let shell = Shell::with_config("speed = 0.1\n");
    let unknown = "00000000-0000-0000-0000-000000000000";
    assert_eq!(shell.error(2, &["run", "watch", unknown, "--timeout", "1m"])["kind"], "not_found");
    let run = shell.submit("outcomes", &["a"]);
    assert_eq!(shell.error(1, &["run", "watch", &run, "--timeout", "2s"])["kind"], "time_out");
    std::fs::write(shell.folder().join("file"), "").unwrap();
    let error = shell.error(1, &["run", "watch", &run, "--download", "file"]);
    assert!(error["message"].as_str().unwrap().contains("folder"), "{error}");
}
