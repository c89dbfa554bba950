//! `aignostics run sync URL --watch` while the store is unavailable.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use auth_http::Method;
use serde_json::{Value, json};

use crate::shell::{Shell, assert_conforms};
use crate::store_servers::has_curl;
use crate::stores::RESULTS;
use crate::sync::{WatchProcess, finished_run, ids, statuses};
use crate::sync_stores::{OWN_BUCKET, read_object};

/// The objects below the address.
const OBJECTS: &str = "/emulator-bucket/study/";
/// The number of failed requests after which the store becomes available again. Several calls send this many requests.
const FAILURES: usize = 8;

/// Makes all requests to the store fail.
fn start_outage(shell: &Shell, effect: &Value) {
    let fault = json!({ "server": "storage", "path": format!("{OBJECTS}*"), "effect": effect });
    shell.control(Method::Post, "/faults", &fault);
}

/// Returns the number of requests to the store.
fn store_requests(shell: &Shell) -> usize {
    ["GET", "HEAD", "PUT"].iter().map(|method| shell.served("storage", method, OBJECTS)).sum()
}

#[test]
fn watch_continues_after_outages_of_the_store() {
    if !has_curl() {
        return;
    }
    let shell = Shell::start();
    let mut runs = vec![finished_run(&shell, &["a"])];
    let mut command =
        shell.command(&["run", "sync", OWN_BUCKET, "--watch", "1s", "--retry-for", "1s", "--format", "jsonl"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut watch = WatchProcess(command.spawn().unwrap());
    let mut lines = BufReader::new(watch.0.stdout.take().unwrap()).lines();
    let mut next_run = || {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        json!([line])
    };
    let first = next_run();
    assert_eq!((ids(&first), statuses(&first)), (vec![&*runs[0]], vec!["fetched"]));
    let outages = [json!({ "kind": "status", "status": 503 }), json!({ "kind": "reset", "after_bytes": 0 })];
    for effect in &outages {
        start_outage(&shell, effect);
        runs.push(finished_run(&shell, &["a", "b"]));
        let previous_requests = store_requests(&shell);
        shell.wait_until("failed requests", |shell| store_requests(shell) >= previous_requests + FAILURES);
        assert!(watch.0.try_wait().unwrap().is_none(), "the command ended: {effect}");
        shell.control(Method::Delete, "/faults", &Value::Null);
        // Each run is reported once, after its results are stored.
        let synced = next_run();
        assert_conforms("synced", &synced);
        assert_eq!((ids(&synced), statuses(&synced)), (vec![runs.last().unwrap().as_str()], vec!["fetched"]));
    }
    watch.0.kill().unwrap();
    watch.0.wait().unwrap();
    let mut files = 0;
    for run in &runs {
        let manifest = String::from_utf8(read_object(&shell, &format!("{run}/manifest.jsonl")).unwrap()).unwrap();
        for line in manifest.lines() {
            let entry: Value = serde_json::from_str(line).unwrap();
            let content = read_object(&shell, entry["file"].as_str().unwrap()).unwrap();
            assert_eq!(content.len() as u64, entry["bytes"].as_u64().unwrap());
            files += 1;
        }
    }
    assert_eq!(shell.served("storage", "GET", RESULTS), files, "nothing is fetched twice");
    // The command was killed before it released the lease, and may not have recorded the last run.
    shell.json("synced", &["run", "sync", OWN_BUCKET]);
    assert_eq!(shell.served("storage", "GET", RESULTS), files, "nothing is fetched again");
    assert_eq!(shell.json("synced", &["run", "sync", OWN_BUCKET]), json!([]));
}
