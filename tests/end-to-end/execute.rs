//! `aignostics run execute`: from slides to verified results, killed at any stage and repeated.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::shell::{Shell, assert_conforms};
use crate::slides::write_slide;

const EXECUTE: [&str; 5] = ["run", "execute", "tissue", "work/slides.csv", "slides"];
const RUNS: &str = "/api/v1/runs";
pub(crate) const RESULTS: &str = "/platform-files/results/";

fn with_slides() -> Shell {
    let shell = Shell::start();
    for name in ["a.tiff", "b.tiff", "c.tiff"] {
        write_slide(&shell.folder().join("slides").join(name));
    }
    fs::create_dir(shell.folder().join("work")).unwrap();
    shell
}

fn start(shell: &Shell) -> Child {
    shell.command(&EXECUTE).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "the process was killed before its end");
}

fn inject(shell: &Shell, effect: &Value, server: &str, method: &str, path: &str, after: u32) {
    let fault = json!({ "effect": effect, "server": server, "method": method, "path": path, "after": after });
    shell.control(Method::Post, "/faults", &fault);
}

/// Returns the requested paths of the storage, with the number of complete transfers.
pub(crate) fn complete_transfers(
    shell: &Shell,
    method: &str,
    path: &str,
    is_complete: impl Fn(&Value) -> bool,
) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in shell.requests("storage", method, path) {
        *counts.entry(request["path"].as_str().unwrap().to_owned()).or_default() += usize::from(is_complete(&request));
    }
    counts
}

pub(crate) fn accepted_submissions(shell: &Shell) -> usize {
    shell.requests("api", "POST", RUNS).iter().filter(|request| request["status"] == 201).count()
}

/// Checks that the results are complete and verified, and that nothing was done twice.
fn assert_done_once(shell: &Shell, report: &Value) {
    assert_eq!((&report["complete"], &report["verified"]), (&json!(true), &json!(true)), "{report:#}");
    assert_eq!(report["items"].as_array().unwrap().len(), 3);
    assert_eq!(accepted_submissions(shell), 1, "the run is billed once");
    let uploads = complete_transfers(shell, "PUT", "/", |request| request["status"] == 200);
    assert!(uploads.len() == 3 && uploads.values().all(|count| *count == 1), "{uploads:#?}");
    let downloads = complete_transfers(shell, "GET", RESULTS, |request| request["bytes"].as_u64() > Some(0));
    assert!(downloads.len() == 9 && downloads.values().all(|count| *count == 1), "{downloads:#?}");
    shell.run(&["run", "verify", "work"]).assert_code(0);
}

/// Kills the command at the stage, and runs it again.
fn assert_resumes_after(shell: &Shell, child: Child, stage: &str, is_reached: impl Fn(&Shell) -> bool) {
    shell.wait_until(stage, is_reached);
    kill(child);
    shell.control(Method::Delete, "/faults", &json!(null));
    let report = shell.json("execution", &EXECUTE);
    assert_done_once(shell, &report);
}

#[test]
fn execute_produces_verified_results() {
    let shell = with_slides();
    let report = shell.json("execution", &EXECUTE);
    assert_done_once(&shell, &report);
    let run = report["run_id"].as_str().unwrap();
    assert!(shell.folder().join("work").join(run).is_dir(), "a folder for the run");
    // Repeating the command finds the same run and downloads nothing.
    let again = shell.json("execution", &EXECUTE);
    assert_eq!(again["run_id"], run);
    assert!(again["items"][0]["artifacts"][0]["already_present"].as_bool().unwrap());
    assert_done_once(&shell, &again);
    // Another slide leads to another run; uploaded slides are not sent again.
    write_slide(&shell.folder().join("slides/d.tiff"));
    let grown = shell.json("execution", &EXECUTE);
    assert_eq!((grown["items"].as_array().unwrap().len(), shell.served("storage", "PUT", "/")), (4, 4));
    assert_ne!(grown["run_id"], run);
    let resubmitted = shell.json("execution", &[&EXECUTE[..], &["--resubmit"]].concat());
    assert_ne!(resubmitted["run_id"], grown["run_id"]);
}

#[test]
fn execute_reports_its_steps() {
    let shell = with_slides();
    let first = shell.transcript_of_table(
        &[&EXECUTE[..], &["--no-create-subdirectory-for-run", "--mapping", ".*:tissue=LUNG"]].concat(),
    );
    insta::assert_snapshot!(first);
    insta::assert_snapshot!(shell.transcript_of_table(&[&EXECUTE[..], &["--no-create-subdirectory-for-run"]].concat()));
}

#[test]
fn results_inside_the_slide_folder_are_not_scanned() {
    let shell = with_slides();
    let arguments = ["run", "execute", "tissue", "slides/slides.csv", "slides"];
    let first = shell.json("execution", &arguments);
    assert_eq!(shell.json("execution", &arguments)["run_id"], first["run_id"]);
    assert_eq!((shell.served("storage", "PUT", "/"), shell.served("api", "POST", RUNS)), (3, 1));
    let flat = [&arguments[..], &["--no-create-subdirectory-for-run"]].concat();
    assert_eq!(shell.error(2, &flat)["kind"], "bad_input");
}

#[test]
fn execute_killed_while_uploading_uploads_the_rest() {
    let shell = with_slides();
    inject(&shell, &json!({ "kind": "latency", "milliseconds": 600_000 }), "storage", "PUT", "*", 2);
    let child = start(&shell);
    assert_resumes_after(&shell, child, "two uploads", |shell| {
        let puts = shell.requests("storage", "PUT", "/");
        puts.len() == 3 && puts.iter().filter(|put| put["status"] == 200).count() == 2
    });
}

#[test]
fn execute_killed_while_submitting_finds_the_run() {
    let shell = with_slides();
    inject(&shell, &json!({ "kind": "stall", "after_bytes": 0 }), "api", "POST", RUNS, 0);
    let child = start(&shell);
    assert_resumes_after(&shell, child, "a submission", |shell| {
        shell.requests("api", "POST", RUNS).iter().any(|request| request["status"] == 201)
    });
    assert_eq!(shell.served("api", "POST", RUNS), 1);
}

#[test]
fn execute_killed_while_waiting_waits_again() {
    let shell = with_slides();
    inject(&shell, &json!({ "kind": "latency", "milliseconds": 600_000 }), "api", "GET", "/api/v1/runs/*", 0);
    let child = start(&shell);
    assert_resumes_after(&shell, child, "a request for the run", |shell| {
        shell.served("api", "GET", "/api/v1/runs/") > 0
    });
    assert_eq!(shell.served("api", "POST", RUNS), 1);
}

#[test]
fn execute_killed_while_downloading_downloads_the_rest() {
    let shell = with_slides();
    inject(&shell, &json!({ "kind": "stall", "after_bytes": 0 }), "storage", "GET", "/platform-files/results/*", 4);
    let child = start(&shell);
    let manifest = shell.folder().join("work/manifest.jsonl");
    let is_reached = move |shell: &Shell| {
        let recorded = fs::read_to_string(&manifest).map_or(0, |text| text.matches('\n').count());
        recorded == 4 && shell.served("storage", "GET", RESULTS) > 4
    };
    assert_resumes_after(&shell, child, "four results", is_reached);
    assert_eq!(shell.served("api", "POST", RUNS), 1);
}

/// Returns the journal entry of the only submission.
fn journal_entry(shell: &Shell) -> (PathBuf, Value) {
    let state = PathBuf::from(shell.running.ready["env"]["AIGNOSTICS_STATE_DIR"].as_str().unwrap());
    let files = fs::read_dir(state.join("submissions")).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let mut entries =
        files.map(|path| (path.clone(), serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap()));
    entries.find(|(_, entry)| entry["content"]["token"].is_string()).unwrap()
}

#[test]
fn uncertain_submission_is_not_repeated() {
    let shell = with_slides();
    inject(&shell, &json!({ "kind": "latency", "milliseconds": 600_000 }), "api", "POST", RUNS, 0);
    let child = start(&shell);
    shell.wait_until("a submission", |shell| shell.served("api", "POST", RUNS) == 1);
    kill(child);
    shell.control(Method::Delete, "/faults", &json!(null));
    // The command searches for the run while it may still appear, and does not submit another one.
    let lookup_count = shell.served("api", "GET", RUNS);
    let mut second_call = shell.command(&[&EXECUTE[..], &["--format", "json", "--verbose"]].concat());
    let result = CommandResult::of(&second_call.env("AIGNOSTICS_RUN_SUBMIT_TIMEOUT", "0.1").output().unwrap());
    result.assert_code(1);
    assert!(shell.served("api", "GET", RUNS) > lookup_count + 3, "the list waits for the replicas");
    // The output names the submission and its token, and describes the two ways to continue.
    let (path, mut entry) = journal_entry(&shell);
    let token = entry["content"]["token"].as_str().unwrap().to_owned();
    let line = |start: &str| result.stderr.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    let waiting: Value = serde_json::from_str(&line(r#"{"event":"waiting""#)).unwrap();
    assert_eq!((&waiting["for"], &waiting["submission_token"]), (&json!("submission"), &json!(token)));
    let error: Value = serde_json::from_str(&line(r#"{"error""#)).unwrap();
    assert_eq!(error["error"]["kind"], "uncertain");
    assert!(error["error"]["message"].as_str().unwrap().contains(&token), "{error}");
    let remedy = error["error"]["remedy"].as_str().unwrap();
    assert!(remedy.contains("repeat the command") && remedy.contains("--resubmit"), "{remedy}");
    // The journal entry is backdated by an hour: an accepted run would be visible by now.
    let sent_at = entry["content"]["sent_at"]["secs_since_epoch"].as_u64().unwrap();
    entry["content"]["sent_at"]["secs_since_epoch"] = json!(sent_at - 3600);
    fs::write(&path, entry.to_string()).unwrap();
    insta::assert_snapshot!(shell.transcript_of_table(&EXECUTE));
    assert_eq!(shell.error(1, &EXECUTE)["kind"], "uncertain");
    assert_eq!(shell.served("api", "POST", RUNS), 1, "nothing is submitted without confirmation");
    let report = shell.json("execution", &[&EXECUTE[..], &["--resubmit"]].concat());
    assert_done_once(&shell, &report);
}

#[test]
fn concurrent_execute_waits_or_fails() {
    let shell = with_slides();
    inject(&shell, &json!({ "kind": "latency", "milliseconds": 600_000 }), "api", "POST", RUNS, 0);
    let child = start(&shell);
    shell.wait_until("a submission", |shell| shell.served("api", "POST", RUNS) == 1);
    let error = shell.error(1, &EXECUTE);
    assert!(error["causes"].to_string().contains("another process"), "{error}");
    kill(child);
    assert_eq!(shell.served("api", "POST", RUNS), 1);
}

#[test]
fn invalid_slides_are_named_before_any_upload() {
    let shell = with_slides();
    for (arguments, kind) in [
        (&["run", "execute", "nothing", "work/slides.csv", "slides"][..], "not_found"),
        (&["run", "execute", "tissue", "work/slides.csv", "absent"], "bad_input"),
        (&["run", "execute", "tissue", "work/slides.csv", "slides", "--mapping", "LUNG"], "bad_input"),
        (&["run", "execute", "tissue", "work/slides.csv", "slides", "--mapping", ".*:width_px=wide"], "bad_input"),
    ] {
        assert_eq!(shell.error(2, arguments)["kind"], kind, "{arguments:?}");
    }
    fs::write(shell.folder().join("slides/bad.tiff"), "nothing").unwrap();
    let result = shell.run(&[&EXECUTE[..], &["--format", "json"]].concat());
    result.assert_code(7);
    let stopped: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_conforms("execution", &stopped);
    assert_eq!(statuses(&stopped), [("a.tiff", "new"), ("b.tiff", "new"), ("c.tiff", "new"), ("bad.tiff", "unusable")]);
    assert!(
        result.stderr.contains(r#""kind":"slides""#) && result.stderr.contains("--skip-unusable"),
        "{}",
        result.stderr
    );
    assert_eq!((shell.served("storage", "PUT", "/"), shell.served("api", "POST", RUNS)), (0, 0));
}

/// Returns the file names and the status of the slides in a report.
pub(crate) fn statuses(report: &Value) -> Vec<(&str, &str)> {
    let slides = report["slides"].as_array().unwrap().iter();
    slides
        .map(|slide| (slide["file"].as_str().unwrap().rsplit('/').next().unwrap(), slide["status"].as_str().unwrap()))
        .collect()
}

#[test]
fn unusable_and_excluded_slides_are_skipped_and_listed() {
    let shell = with_slides();
    fs::write(shell.folder().join("slides/bad.tiff"), "nothing").unwrap();
    write_slide(&shell.folder().join("slides/old/a.tiff"));
    let first = [&EXECUTE[..], &["--exclude", "old/**", "--exclude", "c.*", "--skip-unusable"]].concat();
    let report = shell.json("execution", &first);
    assert_eq!(
        statuses(&report),
        [
            ("a.tiff", "new"),
            ("b.tiff", "new"),
            ("bad.tiff", "unusable"),
            ("c.tiff", "excluded"),
            ("a.tiff", "excluded")
        ]
    );
    assert_eq!((report["items"].as_array().unwrap().len(), &report["submitted"]), (2, &json!(true)));
    // Without the options, the other slides are submitted.
    fs::remove_file(shell.folder().join("slides/bad.tiff")).unwrap();
    let rest = shell.json("execution", &EXECUTE);
    assert_eq!(
        statuses(&rest),
        [("a.tiff", "processed"), ("b.tiff", "processed"), ("c.tiff", "new"), ("a.tiff", "new")]
    );
    assert_eq!((accepted_submissions(&shell), rest["runs"].as_array().unwrap().len()), (2, 2));
}

#[test]
fn failed_uploads_prevent_the_submission() {
    let shell = with_slides();
    inject(&shell, &json!({ "kind": "status", "status": 403 }), "storage", "PUT", "*/b.tiff", 0);
    let result = shell.run(&[&EXECUTE[..], &["--format", "json"]].concat());
    result.assert_code(7);
    let stopped: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_eq!(statuses(&stopped), [("a.tiff", "new"), ("b.tiff", "unusable"), ("c.tiff", "new")]);
    assert_eq!(accepted_submissions(&shell), 0);
}
