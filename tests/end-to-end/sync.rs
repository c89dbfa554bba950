//! `aignostics run sync` and `run list --not-downloaded`.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use auth_core::async_provider_fn;
use auth_http::Method;
use platform_pipeline::RunSync;
use platform_resources::{Client, Settings};
use serde_json::{Value, json};

use crate::command::{CommandResult, Sandbox};
use crate::emulator::token;
use crate::shell::{Shell, assert_conforms};

/// The path of the list of runs.
pub(crate) const RUNS: &str = "/api/v1/runs";

/// Submits a run, waits for its end, and returns its id.
pub(crate) fn finished_run(shell: &Shell, items: &[&str]) -> String {
    let run = shell.submit("outcomes", items);
    wait_for_end(shell, &run);
    run
}

fn wait_for_end(shell: &Shell, run: &str) {
    shell.wait_until("the end of the run", |shell| {
        shell.api(Method::Get, &format!("{RUNS}/{run}"), None).1["state"] == "TERMINATED"
    });
}

/// Returns the number of list requests since the last call, and clears the request journal.
pub(crate) fn take_list_requests(shell: &Shell) -> usize {
    let count = shell.requests("api", "GET", RUNS).iter().filter(|request| request["path"] == RUNS).count();
    shell.control(Method::Delete, "/journal", &Value::Null);
    count
}

pub(crate) fn ids(runs: &Value) -> Vec<&str> {
    runs.as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap()).collect()
}

pub(crate) fn statuses(runs: &Value) -> Vec<&str> {
    runs.as_array().unwrap().iter().map(|run| run["status"].as_str().unwrap()).collect()
}

/// Runs a command with JSON output. Returns the exit code and the output, which must conform to the schema `synced`.
pub(crate) fn outcome(shell: &Shell, arguments: &[&str]) -> (i32, Value) {
    let result = shell.run(&[arguments, &["--format", "json"]].concat());
    let output = serde_json::from_str(&result.stdout).unwrap_or_else(|_| panic!("{} {}", result.stdout, result.stderr));
    assert_conforms("synced", &output);
    (result.code.unwrap(), output)
}

#[test]
fn each_run_is_fetched_once_and_later_calls_send_one_list_request() {
    let shell = Shell::start();
    let (first, second) = (finished_run(&shell, &["a"]), finished_run(&shell, &["a", "b"]));
    let planned = shell.json("synced", &["run", "sync", "results", "--dry-run"]);
    assert_eq!((ids(&planned), statuses(&planned)), (vec![&*first, &*second], vec!["planned"; 2]));
    assert!(!shell.folder().join("results").exists(), "nothing was written");

    let synced = shell.json("synced", &["run", "sync", "results"]);
    assert_eq!((ids(&synced), statuses(&synced)), (vec![&*first, &*second], vec!["fetched"; 2]));
    let files: i64 = synced.as_array().unwrap().iter().map(|run| run["fetched"].as_i64().unwrap()).sum();
    assert_eq!(shell.served("storage", "GET", "/"), usize::try_from(files).unwrap());
    let check = shell.json("folder-check", &["run", "verify", "results"]);
    assert_eq!(check["files"].as_array().unwrap().len(), usize::try_from(files).unwrap());
    assert!(shell.folder().join("results").join(&second).join("b").is_dir());

    take_list_requests(&shell);
    assert_eq!(shell.json("synced", &["run", "sync", "results"]), json!([]));
    assert_eq!(shell.served("api", "GET", &format!("{RUNS}/")), 0, "no run is requested");
    assert_eq!((take_list_requests(&shell), shell.served("storage", "GET", "/")), (1, 0));
    let third = finished_run(&shell, &["c"]);
    assert_eq!(ids(&shell.json("synced", &["run", "sync", "results"])), [third]);
}

#[test]
fn lost_state_is_rebuilt_from_the_manifest() {
    let shell = Shell::start();
    let (first, second) = (finished_run(&shell, &["a"]), finished_run(&shell, &["b"]));
    // The download of a run by its id also counts.
    shell.run(&["run", "download", &first, "results"]).assert_code(0);
    assert_eq!(ids(&shell.json("synced", &["run", "sync", "results"])), [&*second]);
    let state = shell.folder().join("results/.aignostics/sync.json");
    let fetched = shell.served("storage", "GET", "/");
    for content in [None, Some("{"), Some("")] {
        match content {
            None => fs::remove_file(&state).unwrap(),
            Some(text) => fs::write(&state, text).unwrap(),
        }
        assert_eq!(shell.json("synced", &["run", "sync", "results"]), json!([]), "{content:?}");
        let text = fs::read_to_string(&state).unwrap();
        assert!(text.contains(&first) && text.contains(&second), "{text}");
    }
    // Without its entry in the manifest, a file is missing.
    let manifest = shell.folder().join("results/manifest.jsonl");
    let remaining_lines: Vec<_> =
        fs::read_to_string(&manifest).unwrap().lines().skip(1).map(|line| format!("{line}\n")).collect();
    fs::write(&manifest, remaining_lines.concat()).unwrap();
    fs::remove_file(&state).unwrap();
    assert_eq!(shell.json("synced", &["run", "sync", "results"]).as_array().unwrap().len(), 1);
    assert_eq!(shell.served("storage", "GET", "/"), fetched, "existing files are not fetched again");
}

#[test]
fn failed_items_and_deleted_results_are_reported_once() {
    let shell = Shell::start();
    let item = |name: &str, outcome: &str| {
        let slide = json!({ "name": "whole_slide_image", "download_url": "http://127.0.0.1:9/a", "metadata": { "outcome": outcome } });
        json!({ "external_id": name, "input_artifacts": [slide] })
    };
    let body = json!({ "application_id": "outcomes", "items": [item("good", "SUCCEEDED"), item("bad", "USER_ERROR")] });
    let (_, submitted) = shell.api(Method::Post, RUNS, Some(&body));
    let failed = submitted["run_id"].as_str().unwrap();
    wait_for_end(&shell, failed);
    let deleted = finished_run(&shell, &["a", "b"]);
    shell.json("deletion", &["run", "result", "delete", &deleted, "--yes"]);
    let (code, synced) = outcome(&shell, &["run", "sync", "results"]);
    assert_eq!((code, statuses(&synced)), (6, vec!["fetched", "lost"]), "{synced:#}");
    assert_eq!((&synced[0]["complete"], &synced[0]["item_succeeded_count"]), (&json!(false), &json!(1)));
    assert!(synced[0]["failures"][0].as_str().unwrap().starts_with("bad: user error"), "{synced:#}");
    assert!(synced[1]["deleted"]["by_user"].as_u64().unwrap() > 1 && synced[1]["files"] == 0, "{synced:#}");
    let result = shell.run(&["run", "sync", "results"]);
    result.assert_code(0);
    assert_eq!(result.stdout, "");
}

#[test]
fn failed_file_is_fetched_by_the_next_call() {
    let shell = Shell::start();
    let (first, second) = (finished_run(&shell, &["a"]), finished_run(&shell, &["b"]));
    let failure =
        json!({ "server": "storage", "method": "GET", "effect": { "kind": "status", "status": 403 }, "times": 2 });
    shell.control(Method::Post, "/faults", &failure);
    let (code, synced) = outcome(&shell, &["run", "sync", "results", "--jobs", "1"]);
    assert_eq!((code, statuses(&synced)), (6, vec!["pending", "fetched"]), "{synced:#}");
    assert_eq!(ids(&synced), [&*first, &*second], "a failed file does not stop the following runs");
    let missing = shell.json("runs", &["run", "list", "--not-downloaded", "results"]);
    assert_eq!(ids(&missing), [&*first]);
    shell.control(Method::Delete, "/journal", &Value::Null);
    let synced = shell.json("synced", &["run", "sync", "results"]);
    assert_eq!((ids(&synced), &synced[0]["fetched"]), (vec![&*first], &json!(1)));
    assert_eq!(shell.served("storage", "GET", "/"), 1);
    assert_eq!(shell.json("runs", &["run", "list", "--not-downloaded", "results"]), json!([]));
}

#[test]
fn not_downloaded_lists_finished_runs_only() {
    let shell = Shell::with_config("speed = 0.001");
    let waiting = shell.submit("outcomes", &["a"]);
    shell.wait_until("the run", |shell| shell.api(Method::Get, &format!("{RUNS}/{waiting}"), None).0 == 200);
    assert_eq!(shell.json("runs", &["run", "list", "--not-downloaded", "nowhere"]), json!([]));
    assert_eq!(shell.json("synced", &["run", "sync", "results"]), json!([]));
    shell.json("cancellation", &["run", "cancel", &waiting]);
    assert_eq!(shell.json("synced", &["run", "sync", "results"]), json!([]), "it has no results");
}

#[test]
fn several_filters_share_one_folder() {
    let shell = Shell::start();
    let run = finished_run(&shell, &["a"]);
    assert_eq!(shell.json("synced", &["run", "sync", "results", "--application-id", "other"]), json!([]));
    assert_eq!(shell.json("synced", &["run", "sync", "results", "--submitted-by", "nobody"]), json!([]));
    assert_eq!(ids(&shell.json("synced", &["run", "sync", "results", "--application-id", "outcomes"])), [run]);
    assert_eq!(shell.json("synced", &["run", "sync", "results"]), json!([]), "it is local already");
    let error = shell.error(2, &["run", "sync", "results", "--no-create-subdirectory-for-run"]);
    assert!(error["message"].as_str().unwrap().contains("replace each other"), "{error}");
}

pub(crate) fn inject_status(shell: &Shell, server: &str, path: &str, status: u16, times: Option<u32>) {
    let effect = json!({ "kind": "status", "status": status });
    let fault = json!({ "server": server, "method": "GET", "path": path, "effect": effect, "times": times });
    shell.control(Method::Post, "/faults", &fault);
}

/// Starts an emulator with finished runs of one item and one file. Each run has an id and the number of days since its
/// end.
fn shell_with_runs(runs: &[(String, i64)]) -> Shell {
    let sandbox = Sandbox::new();
    let runs = runs.iter().map(|(id, days)| {
        let end = days_ago(*days);
        let file = json!({ "name": "report", "media_type": "text/plain", "content": id });
        let item = json!({ "external_id": "a", "termination_reason": "SUCCEEDED", "output_artifacts": [file] });
        json!({
            "run_id": id, "application_id": "outcomes", "termination_reason": "ALL_ITEMS_PROCESSED",
            "submitted_at": end, "terminated_at": end, "items": [item],
        })
    });
    let path = sandbox.path("fixture.json");
    fs::write(&path, json!({ "runs": runs.collect::<Vec<_>>() }).to_string()).unwrap();
    Shell::with_arguments(&["--fixture", path.to_str().unwrap()])
}

/// Returns the time before this number of days, in whole seconds.
fn days_ago(days: i64) -> String {
    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap();
    (now - jiff::SignedDuration::from_hours(24 * days)).to_string()
}

fn run_id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

#[test]
fn pending_run_stays_pending_for_each_filter_that_found_it() {
    let (run, newer) = (run_id(1), run_id(2));
    let shell = shell_with_runs(&[(run.clone(), 5), (newer.clone(), 2)]);
    let all = ["run", "sync", "results", "--jobs", "1"];
    inject_status(&shell, "storage", "*", 403, Some(2));
    let (code, synced) = outcome(&shell, &all);
    assert_eq!((code, ids(&synced), statuses(&synced)), (6, vec![&*run, &*newer], vec!["pending", "fetched"]));
    let filtered = [&all[..], &["--application-id", "outcomes"]].concat();
    inject_status(&shell, "storage", "*", 403, Some(2));
    let (code, synced) = outcome(&shell, &filtered);
    assert_eq!((code, ids(&synced), statuses(&synced)), (6, vec![&*run], vec!["pending"]));
    assert_eq!(ids(&shell.json("synced", &all)), [run]);
    assert_eq!(shell.json("synced", &filtered), json!([]));
}

#[test]
fn deleted_run_is_reported_once() {
    let shell = Shell::start();
    let run = finished_run(&shell, &["a"]);
    let set_tag = |tags: &str| {
        shell.run(&["run", "update-metadata", &run, &format!(r#"{{"sdk":{{"tags":["{tags}"]}}}}"#)]).assert_code(0);
    };
    set_tag("x");
    let sync = ["run", "sync", "results", "--tags", "x"];
    inject_status(&shell, "storage", "*", 403, None);
    assert_eq!(outcome(&shell, &sync).0, 6);
    shell.control(Method::Delete, "/faults", &Value::Null);
    // The run is no longer in the filtered list.
    set_tag("y");
    let path = format!("{RUNS}/{run}");
    inject_status(&shell, "api", &path, 410, None);
    let (code, synced) = outcome(&shell, &sync);
    assert_eq!((code, synced), (6, json!([])));
    shell.run(&sync).assert_code(0);
    shell.control(Method::Delete, "/faults", &Value::Null);
    assert_eq!(ids(&shell.json("synced", &["run", "sync", "results"])), [run], "other filters still find it");
}

#[test]
fn run_with_failing_requests_does_not_block_others() {
    let shell = Shell::start();
    let (bad, good) = (finished_run(&shell, &["a"]), finished_run(&shell, &["b"]));
    shell.run(&["run", "download", &bad, "results"]).assert_code(0);
    inject_status(&shell, "api", &format!("{RUNS}/{bad}*"), 410, None);
    let (code, synced) = outcome(&shell, &["run", "sync", "results"]);
    assert_eq!((code, ids(&synced), statuses(&synced)), (6, vec![&*good, &*bad], vec!["fetched", "pending"]));
    shell.control(Method::Delete, "/faults", &Value::Null);
    assert_eq!(ids(&shell.json("synced", &["run", "sync", "results"])), [bad]);
}

#[test]
fn run_that_is_tagged_later_is_found_by_the_next_full_list() {
    let (run, newer) = (run_id(1), run_id(2));
    let shell = shell_with_runs(&[(run.clone(), 5), (newer.clone(), 2)]);
    let tag = |run: &str| {
        shell.run(&["run", "update-metadata", run, r#"{"sdk":{"tags":["x"]}}"#]).assert_code(0);
    };
    tag(&newer);
    let sync = ["run", "sync", "results", "--tags", "x"];
    assert_eq!(ids(&shell.json("synced", &sync)), [newer]);
    tag(&run);
    assert_eq!(shell.json("synced", &sync), json!([]), "the list ends at the high-water mark");
    let path = shell.folder().join("results/.aignostics/sync.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for list in state["lists"].as_object_mut().unwrap().values_mut() {
        list["full_at"] = json!(days_ago(2));
    }
    fs::write(path, state.to_string()).unwrap();
    assert_eq!(ids(&shell.json("synced", &sync)), [run]);
    assert_eq!(shell.json("synced", &sync), json!([]));
}

#[test]
fn hundreds_of_runs_are_listed_by_page_and_then_with_one_request() {
    const COUNT: usize = 230;
    // Many runs end at the same time.
    let runs: Vec<_> =
        (1..=COUNT).zip([2, 3, 4].into_iter().cycle()).map(|(number, days)| (run_id(number), days)).collect();
    let shell = shell_with_runs(&runs);
    let synced = shell.json("synced", &["run", "sync", "results"]);
    assert_eq!(synced.as_array().unwrap().len(), COUNT);
    assert_eq!(take_list_requests(&shell), 3, "one for each page");
    assert_eq!(manifest_entries(&shell.folder().join("results")), COUNT);
    assert_eq!(shell.json("synced", &["run", "sync", "results"]), json!([]));
    assert_eq!(take_list_requests(&shell), 1);
}

#[test]
fn watch_with_an_array_for_each_call_is_refused() {
    let shell = Shell::start();
    let error = shell.error(2, &["run", "sync", "results", "--watch", "1s"]);
    assert!(error["message"].as_str().unwrap().contains("jsonl"), "{error}");
}

/// A process that is killed when the value is dropped.
pub(crate) struct WatchProcess(pub(crate) Child);

impl Drop for WatchProcess {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn watch_fetches_new_runs_and_excludes_a_second_sync() {
    let shell = Shell::start();
    let first = finished_run(&shell, &["a"]);
    // The first file takes a minute. During this time, the first process holds the lock of the folder.
    let slow = json!({ "server": "storage", "method": "GET", "effect": { "kind": "latency", "milliseconds": 60_000 } });
    shell.control(Method::Post, "/faults", &slow);
    let mut command = shell.command(&["run", "sync", "results", "--watch", "1s", "--format", "jsonl"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watch = WatchProcess(command.spawn().unwrap());
    shell.wait_until("the first file", |shell| shell.served("api", "GET", &format!("{RUNS}/{first}/artifacts")) > 0);
    let error = shell.error(1, &["run", "sync", "results"]);
    assert!(error["message"].as_str().unwrap().contains("result folder"), "{error}");
    shell.control(Method::Delete, "/faults", &Value::Null);
    watch.0.kill().unwrap();
    watch.0.wait().unwrap();

    let mut watch = WatchProcess(command.spawn().unwrap());
    let is_downloaded = |run: &str| shell.folder().join("results").join(run).join("a").is_dir();
    shell.wait_until("the first run", |_| is_downloaded(&first));
    let second = finished_run(&shell, &["a"]);
    shell.wait_until("the second run", |_| is_downloaded(&second));
    // Each line is printed when its call has ended.
    let output = std::io::BufReader::new(watch.0.stdout.take().unwrap());
    let lines = std::io::BufRead::lines(output).take(2);
    let runs: Vec<Value> = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(ids(&json!(runs)), [first, second]);
    let id = watch.0.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(watch.0.wait().unwrap().code(), Some(143));
    CommandResult::of(&shell.command(&["run", "verify", "results"]).output().unwrap()).assert_code(0);
}

pub(crate) async fn client(shell: &Shell) -> Client {
    let token = token(&shell.running).await;
    let tokens = async_provider_fn(move |_| {
        let token = token.clone();
        async move { Ok(token) }
    });
    let mut settings = Settings::at(&shell.running.url("api_root", "/")).unwrap();
    settings.bucket.endpoint = shell.running.url("storage", "/");
    Client::builder(settings).with_token_provider(tokens).build().unwrap()
}

#[test]
fn each_of_a_thousand_calls_sends_one_list_request() {
    const CALLS: usize = 1000;
    let shell = Shell::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sync = runtime.block_on(async { RunSync::new(&client(&shell).await, shell.folder().join("results")) });
    let (mut lists, mut synced_runs, mut files) = (0, 0, 0);
    for call in 0..CALLS {
        if [100, 101, 700].contains(&call) {
            finished_run(&shell, &["a"]);
        }
        let report = runtime.block_on(sync.execute()).unwrap();
        assert!(report.is_complete(), "{report:?}");
        synced_runs += report.runs.len();
        files += report.runs.iter().map(|run| run.fetched).sum::<usize>();
        if call % 100 == 99 {
            lists += take_list_requests(&shell);
        }
    }
    // The command continues from the stored state, too.
    for _ in 0..3 {
        assert_eq!(shell.json("synced", &["run", "sync", "results"]), json!([]));
    }
    lists += take_list_requests(&shell);
    assert!(
        synced_runs == 3 && files == manifest_entries(&shell.folder().join("results")),
        "{synced_runs} runs, {files} files"
    );
    assert!(lists <= CALLS + 3 + 7, "{lists} list requests");
}

/// Returns the number of entries in the manifest of a folder.
fn manifest_entries(folder: &Path) -> usize {
    fs::read_to_string(folder.join("manifest.jsonl")).unwrap().lines().count()
}
