//! Each slide of a study is billed once, also on another machine, without its state, in a copy of its folder, and when
//! the study grows.

use std::fs;
use std::path::Path;

use auth_http::Method;
use platform_pipeline::{RunOptions, Study};
use platform_resources::{RunSdkMetadata, Service, Settings};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::command::CommandResult;
use crate::execute::{accepted_submissions, statuses};
use crate::shell::{Shell, assert_conforms};
use crate::slides::write_slide;

pub(crate) const EXECUTE: [&str; 5] = ["run", "execute", "tissue", "work/slides.csv", "slides"];

pub(crate) fn with_slides(names: &[&str]) -> Shell {
    let shell = Shell::start();
    for name in names {
        write_slide(&shell.folder().join("slides").join(name));
    }
    fs::create_dir(shell.folder().join("work")).unwrap();
    shell
}

/// Runs the study in another folder, with another home folder and state folder.
fn execute_on_other_machine(shell: &Shell, folder: &Path, arguments: &[&str]) -> Value {
    let mut command = shell.command(&[arguments, &["--format", "json", "--quiet"]].concat());
    command.env("HOME", folder.join("new-home")).env("AIGNOSTICS_STATE_DIR", folder.join("new-state"));
    let result = CommandResult::of(&command.current_dir(folder).output().unwrap());
    result.assert_code(0);
    let report = serde_json::from_str(&result.stdout).unwrap();
    assert_conforms("execution", &report);
    report
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Returns the state folder of the user on this machine.
pub(crate) fn state_folder(shell: &Shell) -> &Path {
    Path::new(shell.running.ready["env"]["AIGNOSTICS_STATE_DIR"].as_str().unwrap())
}

/// Writes a table of two slides, and returns the command that executes it. The second slide fails, because the
/// application produces the outcomes in the column `outcome`.
pub(crate) fn with_one_failure(shell: &Shell) -> [&'static str; 5] {
    shell.run(&["run", "prepare", "outcomes", "work/slides.csv", "slides"]).assert_code(0);
    let csv = shell.folder().join("work/slides.csv");
    let table = fs::read_to_string(&csv).unwrap();
    let rows: Vec<_> = table.lines().collect();
    fs::write(&csv, format!("{};outcome\n{};SUCCEEDED\n{};USER_ERROR\n", rows[0], rows[1], rows[2])).unwrap();
    ["run", "execute", "outcomes", "work/slides.csv", "slides"]
}

#[test]
fn run_is_found_without_state_at_another_path_and_in_a_copy() {
    let shell = with_slides(&["a.tiff", "sub/b.tiff"]);
    let first = shell.json("execution", &EXECUTE);
    assert_eq!(first["submitted"], true);
    let assert_found = |report: &Value| {
        assert_eq!((&report["run_id"], &report["submitted"]), (&first["run_id"], &json!(false)), "{report:#}");
        assert_eq!((&report["complete"], &report["verified"]), (&json!(true), &json!(true)));
    };
    // Without the state of this machine.
    fs::remove_dir_all(state_folder(&shell)).unwrap();
    assert_found(&shell.json("execution", &EXECUTE));
    // In a copy of all folders, with another home folder.
    let copied = shell.folder().join("copied");
    for name in ["slides", "work"] {
        copy_folder(&shell.folder().join(name), &copied.join(name));
    }
    assert_found(&execute_on_other_machine(&shell, &copied, &EXECUTE));
    // With only the slides, at another path.
    let mounted = shell.folder().join("mounted/elsewhere");
    copy_folder(&shell.folder().join("slides"), &mounted.join("slides"));
    fs::create_dir(mounted.join("work")).unwrap();
    assert_found(&execute_on_other_machine(&shell, &mounted, &EXECUTE));
    // At the new path, only an added slide is new.
    write_slide(&mounted.join("slides/c.tiff"));
    let grown = execute_on_other_machine(&shell, &mounted, &EXECUTE);
    assert_eq!(statuses(&grown), [("a.tiff", "processed"), ("b.tiff", "processed"), ("c.tiff", "new")]);
    assert_eq!(accepted_submissions(&shell), 2);
}

/// Calls `Study::execute` twice, and then the command for the same folders.
#[test]
fn library_executes_a_study_that_the_command_finds() {
    let shell = with_slides(&["a.tiff", "b.tiff"]);
    let variables = shell.running.ready["env"].as_object().unwrap();
    let variables = variables.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
    let settings = Settings::builder().with_variables(variables).with_home(shell.folder());
    let settings = settings.with_working_folder(shell.folder()).build().unwrap();
    let [csv, slides] = ["work/slides.csv", "slides"].map(|name| shell.folder().join(name));
    let execute = async || {
        let client = Service::builder(settings.clone()).build().unwrap().client().unwrap();
        let options = RunOptions::new(RunSdkMetadata::new("test/1.0"));
        Study::new(&client, "tissue".into(), &csv, &slides, options).execute().await.unwrap()
    };
    let [first, second] = Runtime::new().unwrap().block_on(async { [execute().await, execute().await] });
    for reports in [&first, &second] {
        assert!(reports.len() == 1 && reports[0].is_complete() && reports[0].is_verified(), "{reports:?}");
        assert_eq!((reports[0].items.len(), &reports[0].run), (2, &first[0].run));
    }
    let command_report = shell.json("execution", &EXECUTE);
    assert_eq!(
        (&command_report["run_id"], &command_report["submitted"]),
        (&json!(first[0].run), &json!(false)),
        "{command_report:#}"
    );
    assert_eq!(accepted_submissions(&shell), 1);
}

#[test]
fn metadata_of_a_run_have_its_token_and_digest() {
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
    assert!(
        !record.to_string().contains(shell.folder().to_str().unwrap()),
        "the record contains a path of this machine: {record}"
    );
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
    let result = shell.run(&EXECUTE);
    result.assert_code(0);
    let run = first["run_id"].as_str().unwrap();
    let plan_position = result.stderr.find(&format!("2 new, 1 already processed in run {run}")).unwrap();
    assert!(plan_position < result.stderr.find("submitted run").unwrap(), "{}", result.stderr);
    assert_eq!(accepted_submissions(&shell), 2);
    let report = shell.json("execution", &EXECUTE);
    let mut items: Vec<_> =
        report["items"].as_array().unwrap().iter().map(|item| item["external_id"].clone()).collect();
    items.sort_by_key(Value::to_string);
    assert_eq!(
        (items, accepted_submissions(&shell)),
        (vec![json!("a.tiff"), json!("b.tiff"), json!("c.tiff")], 2),
        "{report:#}"
    );
}

#[test]
fn failed_slides_are_listed_and_submitted_again_on_request() {
    let shell = with_slides(&["a.tiff", "b.tiff"]);
    let execute = with_one_failure(&shell);
    let report = |more: &[&str]| {
        let result = shell.run(&[&execute[..], more, &["--format", "json"]].concat());
        result.assert_code(6);
        let report: Value = serde_json::from_str(&result.stdout).unwrap();
        assert_conforms("execution", &report);
        report
    };
    let first = report(&[]);
    assert_eq!((accepted_submissions(&shell), &first["submitted"]), (1, &json!(true)));
    let second = report(&[]);
    assert_eq!(statuses(&second), [("a.tiff", "processed"), ("b.tiff", "failed")]);
    assert_eq!(
        (accepted_submissions(&shell), &second["submitted"], &second["run_id"]),
        (1, &json!(false), &first["run_id"])
    );
    let message = shell.run(&execute).stderr;
    assert!(message.contains("1 failed or skipped: --retry-failed") && message.contains("b.tiff: failed"), "{message}");
    // Only the failed slide is submitted again, and no longer downloaded from the first run.
    let third = report(&["--retry-failed"]);
    assert_eq!(statuses(&third), [("a.tiff", "processed"), ("b.tiff", "new")]);
    let items: Vec<_> =
        third["items"].as_array().unwrap().iter().map(|item| (&item["external_id"], &item["run_id"])).collect();
    assert_eq!(items, [(&json!("a.tiff"), &first["run_id"]), (&json!("b.tiff"), &third["run_id"])]);
    assert_eq!(accepted_submissions(&shell), 2);
    // A slide that fails again is submitted separately.
    report(&["--retry-failed"]);
    assert_eq!(accepted_submissions(&shell), 3);
}

#[test]
fn slides_of_a_canceled_run_count_by_their_latest_run() {
    // The first run is canceled before its second slide is processed.
    let shell = Shell::with_config("cancel_runs_after_items = 1\n");
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
    assert_eq!(accepted_submissions(&shell), 2);
    shell.run(&["run", "verify", "work"]).assert_code(0);
}

#[test]
fn one_failed_response_does_not_stop_a_study() {
    let shell = with_slides(&["a.tiff"]);
    let inject_once = |method: &str, path: &str, effect: &Value| {
        let fault = json!({ "server": "api", "method": method, "path": path, "times": 1, "effect": effect });
        shell.control(Method::Post, "/faults", &fault);
    };
    for effect in [json!({ "kind": "status", "status": 503 }), json!({ "kind": "reset", "after_bytes": 0 })] {
        inject_once("GET", "/health", &effect);
        shell.run(&EXECUTE).assert_code(0);
    }
    // A submission that was refused before it was processed.
    write_slide(&shell.folder().join("slides/b.tiff"));
    inject_once("POST", "/api/v1/runs", &json!({ "kind": "throttle", "retry_after_seconds": 1 }));
    let report = shell.json("execution", &EXECUTE);
    assert_eq!((&report["submitted"], accepted_submissions(&shell)), (&json!(true), 2));
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
    // The next call finds the latest run.
    let third = shell.json("execution", &flat);
    assert_eq!((accepted_submissions(&shell), &third["run_id"]), (2, &second["run_id"]));
    // Without the record, the counter continues after the existing runs.
    fs::remove_dir_all(shell.folder().join("work/.aignostics")).unwrap();
    fs::remove_dir_all(state_folder(&shell)).unwrap();
    let fourth = shell.json("execution", &[&flat[..], &["--resubmit"]].concat());
    assert_eq!((accepted_submissions(&shell), &fourth["submitted"]), (3, &json!(true)));
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
    let result = shell.run(&[&flat[..], &["--format", "json"]].concat());
    result.assert_code(6);
    let second: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_ne!(second["run_id"], first["run_id"]);
    let run = first["run_id"].as_str().unwrap();
    assert!(second.to_string().contains(&format!("is a result of run {run} and is not overwritten")), "{second:#}");
    assert_eq!((contents(), accepted_submissions(&shell)), (before.clone(), 2));
    let third = shell.json("execution", &[&flat[..], &["--overwrite"]].concat());
    assert_eq!((&third["run_id"], accepted_submissions(&shell)), (&second["run_id"], 2));
    assert_ne!(contents(), before);
}

#[test]
fn options_without_effect_are_reported() {
    let shell = with_slides(&["a.tiff"]);
    let arguments = [&EXECUTE[..], &["--note", "second reading", "--tags", "x"]].concat();
    assert_eq!(shell.json("execution", &arguments)["ignored_options"], json!([]));
    assert_eq!(shell.json("execution", &arguments)["ignored_options"], json!(["--note", "--tags"]));
    let message = shell.run(&arguments).stderr;
    assert!(message.contains("ignored, because nothing was submitted: --note, --tags"), "{message}");
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
    assert_eq!(accepted_submissions(&shell), 2);
}

#[test]
fn journal_in_the_cache_folder_is_moved_and_its_run_is_found() {
    let shell = with_slides(&["a.tiff"]);
    shell.run(&["run", "prepare", "tissue", "slides.csv", "slides"]).assert_code(0);
    shell.run(&["run", "upload", "tissue", "slides.csv"]).assert_code(0);
    let submit = ["run", "submit", "tissue", "slides.csv", "--once", "study 7"];
    let first = shell.json("submitted", &submit);
    // An earlier version stored the journal here.
    let cache = Path::new(shell.running.ready["env"]["AIGNOSTICS_CACHE_DIR"].as_str().unwrap()).join("submissions");
    fs::rename(state_folder(&shell).join("submissions"), &cache).unwrap();
    // The earlier version had no folders of recent submissions.
    for entry in fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        fs::remove_dir_all(entry).unwrap();
    }
    let again = shell.json("submitted", &submit);
    assert_eq!((&again["run_id"], &again["submitted"]), (&first["run_id"], &json!(false)));
    assert!(!cache.exists() && state_folder(&shell).join("submissions").is_dir());
}

#[test]
fn slides_of_a_study_are_read_once() {
    let shell = with_slides(&["a.tiff", "b.tiff"]);
    shell.wait_until("slides that have not just changed", |shell| {
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
    // The table has the forged checksums of the record, so the slides were not read again.
    let table = || fs::read_to_string(shell.folder().join("work/slides.csv")).unwrap().matches("AAAABw==").count();
    shell.run(&["run", "prepare", "tissue", "work/slides.csv", "slides"]).assert_code(0);
    assert_eq!(table(), 2);
    shell.run(&[&EXECUTE[..], &["--rehash"]].concat()).assert_code(0);
    assert_eq!((table(), accepted_submissions(&shell)), (0, 1));
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
