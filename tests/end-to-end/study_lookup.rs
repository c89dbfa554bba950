//! Before a slide is submitted, it is looked up on the platform. It is found in runs of other studies, without a
//! record, and while another process submits it.

use std::fs;
use std::process::Stdio;

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::execute::{accepted_submissions, statuses};
use crate::shell::{Shell, assert_conforms};
use crate::slides::write_slide;
use crate::study::{EXECUTE, state_folder, with_one_failure, with_slides};

/// Executes the study `study-NAME` of the folder `NAME`, after adding slides to it.
fn add_slides_and_execute(shell: &Shell, name: &str, slides: &[&str]) -> Value {
    for slide in slides {
        write_slide(&shell.folder().join(name).join(slide));
    }
    fs::create_dir_all(shell.folder().join(format!("study-{name}"))).unwrap();
    shell.json("execution", &["run", "execute", "tissue", &format!("study-{name}/slides.csv"), name])
}

fn accepted_items(shell: &Shell) -> u64 {
    let (_, runs) = shell.api(Method::Get, "/api/v1/runs?page_size=100", None);
    runs.as_array().unwrap().iter().map(|run| run["statistics"]["item_count"].as_u64().unwrap()).sum()
}

#[test]
fn every_batch_is_found_without_a_record() {
    let shell = with_slides(&[]);
    let batches: [&[&str]; 5] =
        [&["a.tiff", "b.tiff", "c.tiff", "d.tiff"], &["e.tiff"], &["f.tiff"], &["g.tiff"], &["h.tiff"]];
    for batch in batches {
        add_slides_and_execute(&shell, "slides", batch);
    }
    assert_eq!((accepted_submissions(&shell), accepted_items(&shell)), (5, 8));
    fs::remove_dir_all(shell.folder().join("study-slides/.aignostics")).unwrap();
    fs::remove_dir_all(state_folder(&shell)).unwrap();
    let report = add_slides_and_execute(&shell, "slides", &[]);
    assert_eq!((accepted_submissions(&shell), &report["submitted"]), (5, &json!(false)), "{report:#}");
    let grown = add_slides_and_execute(&shell, "slides", &["i.tiff"]);
    assert_eq!((accepted_submissions(&shell), accepted_items(&shell)), (6, 9), "{grown:#}");
}

#[test]
fn slides_of_other_studies_are_found() {
    let shell = with_slides(&[]);
    add_slides_and_execute(&shell, "one", &["a.tiff"]);
    add_slides_and_execute(&shell, "two", &["b.tiff"]);
    // A combined study grows: it continues only one of the two.
    for slide in ["a.tiff", "b.tiff"] {
        write_slide(&shell.folder().join("both").join(slide));
    }
    add_slides_and_execute(&shell, "both", &["c.tiff"]);
    let report = add_slides_and_execute(&shell, "both", &["d.tiff"]);
    let expected = [("a.tiff", "processed"), ("b.tiff", "processed"), ("c.tiff", "processed"), ("d.tiff", "new")];
    assert_eq!(statuses(&report), expected);
    // A slide of another study is added to a study with a record.
    let report = add_slides_and_execute(&shell, "two", &["a.tiff", "e.tiff"]);
    assert_eq!(statuses(&report), [("b.tiff", "processed"), ("a.tiff", "processed"), ("e.tiff", "new")]);
    assert_eq!(accepted_items(&shell), 5);
}

#[test]
fn slides_of_run_submit_are_found_by_a_growing_study() {
    let shell = with_slides(&["a.tiff", "b.tiff"]);
    shell.run(&["run", "prepare", "tissue", "work/slides.csv", "slides"]).assert_code(0);
    shell.run(&["run", "upload", "tissue", "work/slides.csv"]).assert_code(0);
    shell.json("submitted", &["run", "submit", "tissue", "work/slides.csv"]);
    for slide in ["c.tiff", "d.tiff"] {
        write_slide(&shell.folder().join("slides").join(slide));
        shell.json("execution", &EXECUTE);
    }
    assert_eq!((accepted_submissions(&shell), accepted_items(&shell)), (3, 4));
}

#[test]
fn slides_are_looked_up_by_id_among_many_runs() {
    let shell = with_slides(&[]);
    for number in 0..4 {
        add_slides_and_execute(&shell, "one", &[&format!("{number}.tiff")]);
    }
    add_slides_and_execute(&shell, "two", &["x.tiff"]);
    write_slide(&shell.folder().join("two/2.tiff"));
    // The number of runs is larger than the number of unknown slides, so the slides are looked up by id.
    let report = add_slides_and_execute(&shell, "two", &["y.tiff"]);
    assert_eq!(statuses(&report), [("x.tiff", "processed"), ("2.tiff", "processed"), ("y.tiff", "new")]);
    assert_eq!(accepted_items(&shell), 6);
}

#[test]
fn failed_slide_can_be_excluded() {
    let shell = with_slides(&["a.tiff", "b.tiff"]);
    let execute = with_one_failure(&shell);
    shell.run(&execute).assert_code(6);
    let report = shell.json("execution", &[&execute[..], &["--exclude", "b.tiff"]].concat());
    assert_eq!(statuses(&report), [("a.tiff", "processed"), ("b.tiff", "excluded")]);
    assert_eq!(report["items"].as_array().unwrap().len(), 1, "{report:#}");
    fs::remove_file(shell.folder().join("slides/b.tiff")).unwrap();
    let report = shell.json("execution", &execute);
    assert_eq!((statuses(&report), accepted_submissions(&shell)), (vec![("a.tiff", "processed")], 1));
}

/// Backdates a submission in the journal by an hour: an accepted run would be visible by now.
fn backdate(shell: &Shell, token: &str) {
    let files = fs::read_dir(state_folder(shell).join("submissions")).unwrap().map(|entry| entry.unwrap().path());
    for path in files.filter(|path| path.extension().is_some_and(|ending| ending == "json")) {
        let mut entry: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        if entry["content"]["token"] == token {
            let sent_at = entry["content"]["sent_at"]["secs_since_epoch"].as_u64().unwrap();
            entry["content"]["sent_at"]["secs_since_epoch"] = json!(sent_at - 3600);
            fs::write(&path, entry.to_string()).unwrap();
        }
    }
}

/// Kills the command while it submits. The request never arrives.
fn kill_while_submitting(shell: &Shell) {
    let fault = json!({ "effect": { "kind": "latency", "milliseconds": 600_000 }, "server": "api", "method": "POST",
                        "path": "/api/v1/runs" });
    shell.control(Method::Post, "/faults", &fault);
    let before = shell.served("api", "POST", "/api/v1/runs");
    let mut child = shell.command(&EXECUTE).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    shell.wait_until("a submission", |shell| shell.served("api", "POST", "/api/v1/runs") > before);
    child.kill().unwrap();
    child.wait().unwrap();
    shell.control(Method::Delete, "/faults", &json!(null));
    let record = fs::read(shell.folder().join("work/.aignostics/study.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    backdate(shell, record["submissions"].as_array().unwrap().last().unwrap()["token"].as_str().unwrap());
}

#[test]
fn only_uncertain_slides_are_submitted_again() {
    let shell = with_slides(&["a.tiff", "b.tiff"]);
    shell.json("execution", &EXECUTE);
    write_slide(&shell.folder().join("slides/c.tiff"));
    kill_while_submitting(&shell);
    let error = shell.error(1, &EXECUTE);
    assert_eq!(error["kind"], "uncertain");
    assert!(error["remedy"].as_str().unwrap().contains("`run execute --resubmit-uncertain`"), "{error}");
    let report = shell.json("execution", &[&EXECUTE[..], &["--resubmit-uncertain"]].concat());
    assert_eq!(statuses(&report), [("a.tiff", "processed"), ("b.tiff", "processed"), ("c.tiff", "new")]);
    assert_eq!((accepted_submissions(&shell), accepted_items(&shell)), (2, 3));
    assert_eq!(shell.json("execution", &EXECUTE)["submitted"], false);
}

#[test]
fn uncertain_slides_are_known_without_the_record() {
    let shell = with_slides(&["a.tiff"]);
    kill_while_submitting(&shell);
    fs::remove_dir_all(shell.folder().join("work/.aignostics")).unwrap();
    // Another set of slides has another token.
    write_slide(&shell.folder().join("slides/b.tiff"));
    assert_eq!(shell.error(1, &EXECUTE)["kind"], "uncertain");
    assert_eq!(accepted_submissions(&shell), 0);
    shell.json("execution", &[&EXECUTE[..], &["--resubmit-uncertain"]].concat());
    assert_eq!((accepted_submissions(&shell), accepted_items(&shell)), (1, 2));
    assert_eq!(shell.json("execution", &EXECUTE)["submitted"], false);
}

#[test]
fn slides_submitted_during_the_upload_are_not_submitted_again() {
    let shell = with_slides(&["a.tiff", "c.tiff"]);
    let fault = json!({ "effect": { "kind": "throttle", "retry_after_seconds": 1 }, "server": "storage",
                        "method": "PUT", "path": "*c.tiff*" });
    shell.control(Method::Post, "/faults", &fault);
    let first = shell.command(&[&EXECUTE[..], &["--format", "json"]].concat());
    let first = { first }.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    shell.wait_until("an upload", |shell| shell.requests("storage", "PUT", "/").iter().any(|put| put["status"] != 200));
    fs::create_dir(shell.folder().join("other")).unwrap();
    fs::copy(shell.folder().join("slides/a.tiff"), shell.folder().join("other/a.tiff")).unwrap();
    add_slides_and_execute(&shell, "other", &[]);
    shell.control(Method::Delete, "/faults", &json!(null));
    let result = CommandResult::of(&first.wait_with_output().unwrap());
    result.assert_code(0);
    let report: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_conforms("execution", &report);
    assert_eq!(statuses(&report), [("a.tiff", "processed"), ("c.tiff", "new")]);
    assert_eq!((accepted_submissions(&shell), accepted_items(&shell)), (2, 2));
}
