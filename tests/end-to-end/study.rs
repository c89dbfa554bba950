//! A study is billed once: on another machine, after its state was deleted, in a copy of its folder, when it grows.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::Ended;
use crate::execute::{billed, statuses};
use crate::shell::{Shell, assert_fits};
use crate::slides::write_slide;

const EXECUTE: [&str; 5] = ["run", "execute", "tissue", "work/slides.csv", "slides"];

fn with_slides(names: &[&str]) -> Shell {
    let shell = Shell::start();
    for name in names {
        write_slide(&shell.folder().join("slides").join(name));
    }
    fs::create_dir(shell.folder().join("work")).unwrap();
    shell
}

/// Runs the study in another folder, with another home folder and state folder.
fn elsewhere(shell: &Shell, folder: &Path, arguments: &[&str]) -> Value {
    let mut command = shell.command(&[arguments, &["--format", "json", "--quiet"]].concat());
    command.env("HOME", folder.join("new-home")).env("AIGNOSTICS_STATE_DIR", folder.join("new-state"));
    let ended = Ended::of(&command.current_dir(folder).output().unwrap());
    ended.assert_code(0);
    let report = serde_json::from_str(&ended.stdout).unwrap();
    assert_fits("execution", &report);
    report
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Returns the state folder of the user on this machine.
fn state(shell: &Shell) -> &Path {
    Path::new(shell.running.ready["env"]["AIGNOSTICS_STATE_DIR"].as_str().unwrap())
}

#[test]
fn run_is_found_without_state_at_another_path_and_in_a_copy() {
    let shell = with_slides(&["a.tiff", "sub/b.tiff"]);
    let first = shell.json("execution", &EXECUTE);
    assert_eq!(first["submitted"], true);
    let is_found = |report: &Value| {
        assert_eq!((&report["run_id"], &report["submitted"]), (&first["run_id"], &json!(false)), "{report:#}");
        assert_eq!((&report["complete"], &report["verified"]), (&json!(true), &json!(true)));
    };
    // The state of this machine is deleted.
    fs::remove_dir_all(state(&shell)).unwrap();
    is_found(&shell.json("execution", &EXECUTE));
    // A copy of everything, with another home.
    let copied = shell.folder().join("copied");
    for name in ["slides", "work"] {
        copy(&shell.folder().join(name), &copied.join(name));
    }
    is_found(&elsewhere(&shell, &copied, &EXECUTE));
    // Only the slides, at another path, without a table and a record.
    let mounted = shell.folder().join("mounted/elsewhere");
    copy(&shell.folder().join("slides"), &mounted.join("slides"));
    fs::create_dir(mounted.join("work")).unwrap();
    is_found(&elsewhere(&shell, &mounted, &EXECUTE));
    // At the new path, only an added slide is new.
    write_slide(&mounted.join("slides/c.tiff"));
    let grown = elsewhere(&shell, &mounted, &EXECUTE);
    assert_eq!(statuses(&grown), [("a.tiff", "processed"), ("b.tiff", "processed"), ("c.tiff", "new")]);
    assert_eq!(billed(&shell), 2);
}

#[test]
fn metadata_of_a_run_have_its_token_and_digest_beside_the_sdk() {
    let shell = with_slides(&["a.tiff"]);
    let report = shell.json("execution", &EXECUTE);
    let run = report["run_id"].as_str().unwrap();
    let (_, described) = shell.api(Method::Get, &format!("/api/v1/runs/{run}"), None);
    let metadata = &described["custom_metadata"];
    assert_eq!(metadata["submission_token"], report["submission_token"]);
    assert_eq!(metadata["submission_digest"].as_str().unwrap().len(), 64);
    assert!(metadata["sdk"].get("submission_token").is_none() && metadata["sdk"]["schema_version"].is_string());
    let record: Value =
        serde_json::from_slice(&fs::read(shell.folder().join("work/.aignostics/study.json")).unwrap()).unwrap();
    assert_eq!(metadata["study_id"], record["study_id"]);
    assert!(!record.to_string().contains(shell.folder().to_str().unwrap()), "no path of this machine: {record}");
}

#[test]
fn only_new_and_changed_slides_are_submitted() {
    let shell = with_slides(&["a.tiff", "b.tiff"]);
    let first = shell.json("execution", &EXECUTE);
    write_slide(&shell.folder().join("slides/c.tiff"));
    let changed = shell.folder().join("slides/b.tiff");
    let mut content = fs::read(&changed).unwrap();
    content.push(0);
    fs::write(&changed, content).unwrap();
    let ended = shell.run(&EXECUTE);
    ended.assert_code(0);
    let run = first["run_id"].as_str().unwrap();
    let planned = ended.stderr.find(&format!("2 new, 1 already processed in run {run}")).unwrap();
    assert!(planned < ended.stderr.find("submitted run").unwrap(), "{}", ended.stderr);
    assert_eq!(billed(&shell), 2);
    let report = shell.json("execution", &EXECUTE);
    let mut items: Vec<_> =
        report["items"].as_array().unwrap().iter().map(|item| item["external_id"].clone()).collect();
    items.sort_by_key(Value::to_string);
    assert_eq!((items, billed(&shell)), (vec![json!("a.tiff"), json!("b.tiff"), json!("c.tiff")], 2), "{report:#}");
}

#[test]
fn failed_slides_are_listed_and_submitted_again_on_request() {
    let shell = with_slides(&["a.tiff", "b.tiff"]);
    // This application fails as the column `outcome` states.
    shell.run(&["run", "prepare", "outcomes", "work/slides.csv", "slides"]).assert_code(0);
    let csv = shell.folder().join("work/slides.csv");
    let table = fs::read_to_string(&csv).unwrap();
    let rows: Vec<_> = table.lines().collect();
    fs::write(&csv, format!("{};outcome\n{};SUCCEEDED\n{};USER_ERROR\n", rows[0], rows[1], rows[2])).unwrap();
    let execute = ["run", "execute", "outcomes", "work/slides.csv", "slides"];
    let report = |more: &[&str]| {
        let ended = shell.run(&[&execute[..], more, &["--format", "json"]].concat());
        ended.assert_code(6);
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_fits("execution", &report);
        report
    };
    let first = report(&[]);
    assert_eq!((billed(&shell), &first["submitted"]), (1, &json!(true)));
    let second = report(&[]);
    assert_eq!(statuses(&second), [("a.tiff", "processed"), ("b.tiff", "failed")]);
    assert_eq!((billed(&shell), &second["submitted"], &second["run_id"]), (1, &json!(false), &first["run_id"]));
    let told = shell.run(&execute).stderr;
    assert!(told.contains("1 failed or skipped: --retry-failed") && told.contains("b.tiff: failed"), "{told}");
    // Only the failed slide is submitted again, and no longer downloaded from the first run.
    let third = report(&["--retry-failed"]);
    assert_eq!(statuses(&third), [("a.tiff", "processed"), ("b.tiff", "new")]);
    let items: Vec<_> =
        third["items"].as_array().unwrap().iter().map(|item| (&item["external_id"], &item["run_id"])).collect();
    assert_eq!(items, [(&json!("a.tiff"), &first["run_id"]), (&json!("b.tiff"), &third["run_id"])]);
    assert_eq!(billed(&shell), 2);
    // A slide that fails again is submitted separately.
    report(&["--retry-failed"]);
    assert_eq!(billed(&shell), 3);
}

#[test]
fn slides_of_a_canceled_run_count_by_their_latest_run() {
    // The first run is canceled before its second slide is processed.
    let shell = Shell::configured("cancel_runs_after_items = 1\n");
    for name in ["a.tiff", "b.tiff"] {
        write_slide(&shell.folder().join("slides").join(name));
    }
    fs::create_dir(shell.folder().join("work")).unwrap();
    shell.run(&EXECUTE).assert_code(6);
    let retried = shell.json("execution", &[&EXECUTE[..], &["--retry-failed"]].concat());
    let again = shell.json("execution", &EXECUTE);
    for report in [&retried, &again] {
        assert_eq!((&report["complete"], &report["item_count"]), (&json!(true), &json!(2)), "{report:#}");
    }
    assert_eq!(statuses(&again), [("a.tiff", "processed"), ("b.tiff", "processed")]);
    assert_eq!(billed(&shell), 2);
    shell.run(&["run", "verify", "work"]).assert_code(0);
}

#[test]
fn one_bad_answer_does_not_stop_a_study() {
    let shell = with_slides(&["a.tiff"]);
    let once = |method: &str, path: &str, effect: &Value| {
        let fault = json!({ "server": "api", "method": method, "path": path, "times": 1, "effect": effect });
        shell.control(Method::Post, "/faults", &fault);
    };
    for effect in [json!({ "kind": "status", "status": 503 }), json!({ "kind": "reset", "after_bytes": 0 })] {
        once("GET", "/health", &effect);
        shell.run(&EXECUTE).assert_code(0);
    }
    // A submission that was refused before it was processed.
    write_slide(&shell.folder().join("slides/b.tiff"));
    once("POST", "/api/v1/runs", &json!({ "kind": "throttle", "retry_after_seconds": 1 }));
    let report = shell.json("execution", &EXECUTE);
    assert_eq!((&report["submitted"], billed(&shell)), (&json!(true), 2));
    let record: Value =
        serde_json::from_slice(&fs::read(shell.folder().join("work/.aignostics/study.json")).unwrap()).unwrap();
    assert_eq!(record["submissions"].as_array().unwrap().len(), 2, "{record:#}");
}

#[test]
fn resubmission_is_counted_and_keeps_the_first_results() {
    let shell = with_slides(&["a.tiff"]);
    let flat = [&EXECUTE[..], &["--no-create-subdirectory-for-run"]].concat();
    let first = shell.json("execution", &flat);
    let file = shell.folder().join("work").join(first["items"][0]["artifacts"][0]["file"].as_str().unwrap());
    let before = fs::read(&file).unwrap();
    // The second run of this slide has the same results, which are already present.
    let second = shell.json("execution", &[&flat[..], &["--resubmit"]].concat());
    assert_ne!(second["run_id"], first["run_id"]);
    assert_eq!(fs::read(&file).unwrap(), before);
    // The latest run is the one that is found.
    let third = shell.json("execution", &flat);
    assert_eq!((billed(&shell), &third["run_id"]), (2, &second["run_id"]));
    // Without the record, the counter continues after the existing runs.
    fs::remove_dir_all(shell.folder().join("work/.aignostics")).unwrap();
    fs::remove_dir_all(state(&shell)).unwrap();
    let fourth = shell.json("execution", &[&flat[..], &["--resubmit"]].concat());
    assert_eq!((billed(&shell), &fourth["submitted"]), (3, &json!(true)));
}

#[test]
fn results_of_a_second_run_replace_others_only_on_request() {
    let shell = with_slides(&["a.tiff"]);
    let flat = [&EXECUTE[..], &["--no-create-subdirectory-for-run"]].concat();
    let first = shell.json("execution", &flat);
    let files: Vec<_> = first["items"][0]["artifacts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|artifact| shell.folder().join("work").join(artifact["file"].as_str().unwrap()))
        .collect();
    let contents = || files.iter().map(|file| fs::read(file).unwrap()).collect::<Vec<_>>();
    let before = contents();
    // Another resolution is another study item, and leads to other areas.
    let csv = shell.folder().join("work/slides.csv");
    fs::write(&csv, fs::read_to_string(&csv).unwrap().replace(";0.5;", ";0.25;")).unwrap();
    let ended = shell.run(&[&flat[..], &["--format", "json"]].concat());
    ended.assert_code(6);
    let second: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_ne!(second["run_id"], first["run_id"]);
    let run = first["run_id"].as_str().unwrap();
    assert!(second.to_string().contains(&format!("is a result of run {run} and is not overwritten")), "{second:#}");
    assert_eq!((contents(), billed(&shell)), (before.clone(), 2));
    let third = shell.json("execution", &[&flat[..], &["--overwrite"]].concat());
    assert_eq!((&third["run_id"], billed(&shell)), (&second["run_id"], 2));
    assert_ne!(contents(), before);
}

/// Executes the study `study-NAME` of the folder `NAME`, after adding slides to it.
fn grow(shell: &Shell, name: &str, slides: &[&str]) -> Value {
    for slide in slides {
        write_slide(&shell.folder().join(name).join(slide));
    }
    fs::create_dir_all(shell.folder().join(format!("study-{name}"))).unwrap();
    shell.json("execution", &["run", "execute", "tissue", &format!("study-{name}/slides.csv"), name])
}

/// Returns the number of accepted items.
fn billed_items(shell: &Shell) -> u64 {
    let (_, runs) = shell.api(Method::Get, "/api/v1/runs?page_size=100", None);
    runs.as_array().unwrap().iter().map(|run| run["statistics"]["item_count"].as_u64().unwrap()).sum()
}

#[test]
fn every_batch_is_found_without_a_record() {
    let shell = with_slides(&[]);
    let batches: [&[&str]; 5] =
        [&["a.tiff", "b.tiff", "c.tiff", "d.tiff"], &["e.tiff"], &["f.tiff"], &["g.tiff"], &["h.tiff"]];
    for batch in batches {
        grow(&shell, "slides", batch);
    }
    assert_eq!((billed(&shell), billed_items(&shell)), (5, 8));
    fs::remove_dir_all(shell.folder().join("study-slides/.aignostics")).unwrap();
    fs::remove_dir_all(state(&shell)).unwrap();
    let report = grow(&shell, "slides", &[]);
    assert_eq!((billed(&shell), &report["submitted"]), (5, &json!(false)), "{report:#}");
    let grown = grow(&shell, "slides", &["i.tiff"]);
    assert_eq!((billed(&shell), billed_items(&shell)), (6, 9), "{grown:#}");
}

#[test]
fn slides_of_other_studies_are_found() {
    let shell = with_slides(&[]);
    grow(&shell, "one", &["a.tiff"]);
    grow(&shell, "two", &["b.tiff"]);
    // A combined study grows: it continues only one of the two.
    for slide in ["a.tiff", "b.tiff"] {
        write_slide(&shell.folder().join("both").join(slide));
    }
    grow(&shell, "both", &["c.tiff"]);
    let report = grow(&shell, "both", &["d.tiff"]);
    let expected = [("a.tiff", "processed"), ("b.tiff", "processed"), ("c.tiff", "processed"), ("d.tiff", "new")];
    assert_eq!(statuses(&report), expected);
    // A slide of another study is added to a study with a record.
    let report = grow(&shell, "two", &["a.tiff", "e.tiff"]);
    assert_eq!(statuses(&report), [("b.tiff", "processed"), ("a.tiff", "processed"), ("e.tiff", "new")]);
    assert_eq!(billed_items(&shell), 5);
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
    assert_eq!((billed(&shell), billed_items(&shell)), (3, 4));
}

#[test]
fn slides_are_looked_up_by_id_among_many_runs() {
    let shell = with_slides(&[]);
    for number in 0..4 {
        grow(&shell, "one", &[&format!("{number}.tiff")]);
    }
    grow(&shell, "two", &["x.tiff"]);
    write_slide(&shell.folder().join("two/2.tiff"));
    // More runs than unknown slides.
    let report = grow(&shell, "two", &["y.tiff"]);
    assert_eq!(statuses(&report), [("x.tiff", "processed"), ("2.tiff", "processed"), ("y.tiff", "new")]);
    assert_eq!(billed_items(&shell), 6);
}

#[test]
fn failed_slide_can_be_left_out() {
    let shell = with_slides(&["a.tiff", "b.tiff"]);
    shell.run(&["run", "prepare", "outcomes", "work/slides.csv", "slides"]).assert_code(0);
    let csv = shell.folder().join("work/slides.csv");
    let table = fs::read_to_string(&csv).unwrap();
    let rows: Vec<_> = table.lines().collect();
    fs::write(&csv, format!("{};outcome\n{};SUCCEEDED\n{};USER_ERROR\n", rows[0], rows[1], rows[2])).unwrap();
    let execute = ["run", "execute", "outcomes", "work/slides.csv", "slides"];
    shell.run(&execute).assert_code(6);
    let report = shell.json("execution", &[&execute[..], &["--exclude", "b.tiff"]].concat());
    assert_eq!(statuses(&report), [("a.tiff", "processed"), ("b.tiff", "excluded")]);
    assert_eq!(report["items"].as_array().unwrap().len(), 1, "{report:#}");
    fs::remove_file(shell.folder().join("slides/b.tiff")).unwrap();
    let report = shell.json("execution", &execute);
    assert_eq!((statuses(&report), billed(&shell)), (vec![("a.tiff", "processed")], 1));
}

/// Moves the submission in the journal back by an hour: an accepted run would be visible by now.
fn backdate(shell: &Shell, token: &str) {
    let files = fs::read_dir(state(shell).join("submissions")).unwrap().map(|entry| entry.unwrap().path());
    for path in files.filter(|path| path.extension().is_some_and(|ending| ending == "json")) {
        let mut kept: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        if kept["content"]["token"] == token {
            let sent = kept["content"]["sent_at"]["secs_since_epoch"].as_u64().unwrap();
            kept["content"]["sent_at"]["secs_since_epoch"] = json!(sent - 3600);
            fs::write(&path, kept.to_string()).unwrap();
        }
    }
}

/// Kills the command while it submits: the request never arrives.
fn kill_while_submitting(shell: &Shell) {
    let fault = json!({ "effect": { "kind": "latency", "milliseconds": 600_000 }, "server": "api", "method": "POST",
                        "path": "/api/v1/runs" });
    shell.control(Method::Post, "/faults", &fault);
    let before = shell.served("api", "POST", "/api/v1/runs");
    let mut child = shell.command(&EXECUTE).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    shell.until("a submission", |shell| shell.served("api", "POST", "/api/v1/runs") > before);
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
    assert_eq!((billed(&shell), billed_items(&shell)), (2, 3));
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
    assert_eq!(billed(&shell), 0);
    shell.json("execution", &[&EXECUTE[..], &["--resubmit-uncertain"]].concat());
    assert_eq!((billed(&shell), billed_items(&shell)), (1, 2));
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
    shell.until("an upload", |shell| shell.requests("storage", "PUT", "/").iter().any(|put| put["status"] != 200));
    fs::create_dir(shell.folder().join("other")).unwrap();
    fs::copy(shell.folder().join("slides/a.tiff"), shell.folder().join("other/a.tiff")).unwrap();
    grow(&shell, "other", &[]);
    shell.control(Method::Delete, "/faults", &json!(null));
    let ended = Ended::of(&first.wait_with_output().unwrap());
    ended.assert_code(0);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_fits("execution", &report);
    assert_eq!(statuses(&report), [("a.tiff", "processed"), ("c.tiff", "new")]);
    assert_eq!((billed(&shell), billed_items(&shell)), (2, 2));
}

#[test]
fn options_without_effect_are_reported() {
    let shell = with_slides(&["a.tiff"]);
    let arguments = [&EXECUTE[..], &["--note", "second reading", "--tags", "x"]].concat();
    assert_eq!(shell.json("execution", &arguments)["ignored_options"], json!([]));
    assert_eq!(shell.json("execution", &arguments)["ignored_options"], json!(["--note", "--tags"]));
    let told = shell.run(&arguments).stderr;
    assert!(told.contains("ignored, because nothing was submitted: --note, --tags"), "{told}");
}

#[test]
fn table_with_absolute_ids_keeps_working() {
    let shell = with_slides(&["a.tiff"]);
    let absolute = shell.folder().join("slides/a.tiff");
    let first = shell.json("execution", &[&EXECUTE[..], &["--external-id", "absolute"]].concat());
    assert_eq!(first["items"][0]["external_id"], absolute.to_str().unwrap());
    // The table has no column `file`, like a table of the Python tool.
    let csv = shell.folder().join("work/slides.csv");
    let table = fs::read_to_string(&csv).unwrap();
    fs::write(&csv, table.replace(";file;", ";").replace(";../slides/a.tiff;", ";")).unwrap();
    write_slide(&shell.folder().join("slides/b.tiff"));
    let second = shell.json("execution", &EXECUTE);
    assert_eq!(statuses(&second), [("a.tiff", "processed"), ("b.tiff", "new")]);
    assert_eq!(billed(&shell), 2);
}

#[test]
fn journal_in_the_cache_folder_is_moved_and_its_run_is_found() {
    let shell = with_slides(&["a.tiff"]);
    shell.run(&["run", "prepare", "tissue", "slides.csv", "slides"]).assert_code(0);
    shell.run(&["run", "upload", "tissue", "slides.csv"]).assert_code(0);
    let submit = ["run", "submit", "tissue", "slides.csv", "--once", "study 7"];
    let first = shell.json("submitted", &submit);
    // This is the location of an earlier version.
    let cache = Path::new(shell.running.ready["env"]["AIGNOSTICS_CACHE_DIR"].as_str().unwrap()).join("submissions");
    fs::rename(state(&shell).join("submissions"), &cache).unwrap();
    // It has no folders of recent submissions.
    for entry in fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        fs::remove_dir_all(entry).unwrap();
    }
    let again = shell.json("submitted", &submit);
    assert_eq!((&again["run_id"], &again["submitted"]), (&first["run_id"], &json!(false)));
    assert!(!cache.exists() && state(&shell).join("submissions").is_dir());
}

#[test]
fn slides_of_a_study_are_read_once() {
    let shell = with_slides(&["a.tiff", "b.tiff"]);
    shell.until("slides that have not just changed", |shell| {
        let changed = shell.folder().join("slides/b.tiff").metadata().unwrap().modified().unwrap();
        changed.elapsed().is_ok_and(|age| age > std::time::Duration::from_millis(2100))
    });
    shell.json("execution", &EXECUTE);
    let cache = shell.folder().join("work/.aignostics/slides.jsonl");
    let text = fs::read_to_string(&cache).unwrap();
    let forged = text.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut entry: Value = serde_json::from_str(line).unwrap();
        entry["crc32c"] = json!(7);
        format!("{entry}\n")
    });
    fs::write(&cache, forged.collect::<String>()).unwrap();
    // The table has the checksums of the record, which match no file: the slides were not read.
    let table = || fs::read_to_string(shell.folder().join("work/slides.csv")).unwrap().matches("AAAABw==").count();
    shell.run(&["run", "prepare", "tissue", "work/slides.csv", "slides"]).assert_code(0);
    assert_eq!(table(), 2);
    shell.run(&[&EXECUTE[..], &["--rehash"]].concat()).assert_code(0);
    assert_eq!((table(), billed(&shell)), (0, 1));
}

#[test]
fn application_with_all_requirements_takes_tiff_and_dicom() {
    let shell = with_slides(&["a.tiff"]);
    fs::write(shell.folder().join("slides/b.dcm"), crate::dicom::Dicom::default().bytes()).unwrap();
    let execute = ["run", "execute", "he-tme", "work/slides.csv", "slides"];
    let mapping = ["--mapping", ".*:staining_method=H&E,tissue=LUNG,disease=LUNG_CANCER"];
    let report = shell.json("execution", &[&execute[..], &mapping].concat());
    assert_eq!((&report["complete"], report["items"].as_array().unwrap().len()), (&json!(true), 2), "{report:#}");
}
