//! `aignostics run download` and `verify`.

use std::fs;
use std::process::Stdio;

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::shell::{Shell, assert_conforms};

fn submit_with_outcomes(shell: &Shell, outcomes: &[(&str, &str)]) -> String {
    let items = outcomes.iter().map(|(item, outcome)| {
        let slide = json!({ "name": "whole_slide_image", "download_url": "http://127.0.0.1:9/a", "metadata": { "outcome": outcome } });
        json!({ "external_id": item, "input_artifacts": [slide] })
    });
    let body = json!({ "application_id": "outcomes", "items": items.collect::<Vec<_>>() });
    let (status, response) = shell.api(Method::Post, "/api/v1/runs", Some(&body));
    assert_eq!(status, 201, "{response}");
    response["run_id"].as_str().unwrap().to_owned()
}

#[test]
fn run_is_downloaded_and_verified_once() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a", "b"]);
    let report =
        shell.json("report", &["run", "download", "--no-create-subdirectory-for-run", &run, "results", "--follow"]);
    assert_eq!((&report["complete"], &report["verified"]), (&json!(true), &json!(true)), "{report:#}");
    let files: Vec<_> =
        report["items"].as_array().unwrap().iter().flat_map(|item| item["artifacts"].as_array().unwrap()).collect();
    assert!(!files.is_empty() && files.iter().all(|file| file["already_present"] == false));
    for file in &files {
        let path = shell.folder().join("results").join(file["file"].as_str().unwrap());
        assert_eq!(fs::metadata(path).unwrap().len(), file["bytes"].as_u64().unwrap());
    }
    let fetched = shell.served("storage", "GET", "/");
    let again = shell.json("report", &["run", "download", "--no-create-subdirectory-for-run", &run, "results"]);
    assert_eq!(shell.served("storage", "GET", "/"), fetched, "existing files are not fetched");
    assert!(again["items"][0]["artifacts"][0]["already_present"].as_bool().unwrap());

    let check = shell.json("folder-check", &["run", "verify", "results"]);
    assert_eq!((&check["intact"], check["files"].as_array().unwrap().len()), (&json!(true), files.len()));
}

#[test]
fn altered_file_is_named_and_fetched_again() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    let report =
        shell.json("report", &["run", "download", "--no-create-subdirectory-for-run", &run, "results", "--follow"]);
    let file = report["items"][0]["artifacts"][0]["file"].as_str().unwrap().to_owned();
    let path = shell.folder().join("results").join(&file);
    let original = fs::read(&path).unwrap();
    let mut altered = original.clone();
    altered[0] ^= 1;
    fs::write(&path, altered).unwrap();
    let result = shell.run(&["run", "verify", "results"]);
    result.assert_code(6);
    assert!(result.stdout.lines().any(|line| line.contains("CHANGED") && line.ends_with(&file)), "{}", result.stdout);
    assert!(result.error_message().contains("1 of "), "{}", result.stderr);
    let result = shell.run(&["run", "verify", "results", "--format", "json"]);
    result.assert_code(6);
    assert_conforms("folder-check", &serde_json::from_str(&result.stdout).unwrap());
    shell.run(&["run", "download", "--no-create-subdirectory-for-run", &run, "results"]).assert_code(0);
    assert_eq!(fs::read(&path).unwrap(), original);
    fs::remove_file(&path).unwrap();
    assert!(shell.run(&["run", "verify", "results"]).stdout.contains("MISSING"));
    // Neither command needs a server.
    let mut offline = shell.command(&["run", "verify", "results"]);
    offline.env_clear();
    CommandResult::of(&offline.output().unwrap()).assert_code(6);
}

#[test]
fn failed_items_are_named_and_the_others_downloaded() {
    let shell = Shell::start();
    let run = submit_with_outcomes(&shell, &[("good", "SUCCEEDED"), ("bad", "USER_ERROR")]);
    let result = shell.run(&[
        "run",
        "download",
        "--no-create-subdirectory-for-run",
        &run,
        "results",
        "--follow",
        "--format",
        "json",
    ]);
    result.assert_code(6);
    let report: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_conforms("report", &report);
    assert_eq!(report["complete"], false);
    // stderr is a single object, without a human-readable line before it.
    assert_conforms("error", &serde_json::from_str(&result.stderr).unwrap());
    assert!(
        shell
            .run(&["run", "download", "--no-create-subdirectory-for-run", &run, "results"])
            .stderr
            .contains("bad: user error")
    );
    assert!(shell.folder().join("results/good").is_dir());
}

#[test]
fn only_selected_results_are_fetched() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a", "b", "c"]);
    let report = shell.json(
        "report",
        &["run", "download", "--no-create-subdirectory-for-run", &run, "one", "--follow", "--item", "b"],
    );
    assert_eq!((report["items"].as_array().unwrap().len(), &report["left_out"]), (1, &json!(2)));
    let mut items = Vec::new();
    for index in 0..3 {
        let shard = format!("{index}/3");
        let report = shell.json(
            "report",
            &["run", "download", "--no-create-subdirectory-for-run", &run, "shares", "--shard", &shard],
        );
        items.extend(report["items"].as_array().unwrap().iter().map(|item| item["external_id"].clone()));
    }
    items.sort_by_key(ToString::to_string);
    assert_eq!(items, ["a", "b", "c"]);
}

#[test]
fn selection_that_matches_nothing_lists_what_exists() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["study/a.tiff", "study/b.tiff", "other/b.tiff"]);
    shell.run(&["run", "wait", &run]).assert_code(0);
    let refused = |options: &[&str]| {
        let error = shell
            .error(2, &[&["run", "download", "--no-create-subdirectory-for-run", &run, "results"], options].concat());
        assert_eq!(shell.served("storage", "GET", "/"), 0, "{options:?}");
        (error["message"].to_string(), error["details"].to_string())
    };
    let (message, existing) = refused(&["--item", "study/a.tiff", "--item", "c.tiff"]);
    assert!(message.contains("no item 'c.tiff'") && existing.contains("exists: study/a.tiff"), "{message}: {existing}");
    let (message, existing) = refused(&["--item", "b.tiff"]);
    assert!(message.contains("several items named 'b.tiff'"), "{message}");
    assert!(existing.contains("other/b.tiff") && !existing.contains("a.tiff"), "{existing}");
    for selection in [["--artifact", "nothing_*"], ["--media-type", "text/nothing"]] {
        let (message, existing) = refused(&selection);
        assert!(message.contains("no artifact") && existing.contains("exists: "), "{message}: {existing}");
    }
    // A file name that only one item has selects it.
    let report = shell
        .json("report", &["run", "download", "--no-create-subdirectory-for-run", &run, "results", "--item", "a.tiff"]);
    assert_eq!((&report["items"][0]["external_id"], &report["left_out"]), (&json!("study/a.tiff"), &json!(2)));
}

#[test]
fn deleted_results_are_counted_and_local_files_kept() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a", "b"]);
    let report =
        shell.json("report", &["run", "download", "--no-create-subdirectory-for-run", &run, "here", "--follow"]);
    let artifacts = report["items"].as_array().unwrap().iter().flat_map(|item| item["artifacts"].as_array().unwrap());
    let files: Vec<_> = artifacts.map(|artifact| artifact["file"].as_str().unwrap().to_owned()).collect();
    shell.json("deletion", &["run", "result", "delete", &run, "--yes"]);

    let result = shell.run(&["run", "download", "--no-create-subdirectory-for-run", &run, "there", "--format", "json"]);
    result.assert_code(6);
    let error: Value = serde_json::from_str(&result.stderr).unwrap();
    let message = format!("{} result files are deleted by a user", files.len());
    assert_eq!(error["error"]["message"], message);
    let incomplete_report: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_conforms("report", &incomplete_report);
    assert_eq!(
        (&incomplete_report["complete"], &incomplete_report["deleted"]["by_user"]),
        (&json!(false), &json!(files.len()))
    );
    assert_eq!(incomplete_report["items"][0]["artifacts"][0]["deleted_by"], "user");
    assert!(
        !shell.folder().join("there/a").exists()
            || fs::read_dir(shell.folder().join("there/a")).unwrap().next().is_none()
    );

    // Existing files are verified and count as present; lost files are listed.
    let again = shell.json("report", &["run", "download", "--no-create-subdirectory-for-run", &run, "here"]);
    assert_eq!((&again["complete"], &again["verified"]), (&json!(true), &json!(true)), "{again:#}");
    fs::remove_file(shell.folder().join("here").join(&files[0])).unwrap();
    let result = shell.run(&["run", "download", "--no-create-subdirectory-for-run", &run, "here"]);
    result.assert_code(6);
    assert!(result.error_message().contains("1 result file is deleted by a user"), "{}", result.stderr);

    let described = shell.run(&["run", "describe", &run]);
    assert!(described.stdout.contains("deleted by a user"), "{}", described.stdout);
    assert!(!described.stdout.contains("results until"), "{}", described.stdout);
    let described = shell.json("run-description", &["run", "describe", &run]);
    assert_eq!(
        described["results"],
        json!({
            "available": 0, "deleted_by_user": files.len(), "deleted_by_retention": 0,
        })
    );
}

#[test]
fn results_whose_retention_has_ended_are_counted() {
    let shell = Shell::with_config("refresh_lifetime_seconds = 31536000\n");
    let forty_days = 40 * 86_400;
    shell.control(Method::Post, "/clock", &json!({ "seconds": -forty_days }));
    let run = shell.submit("outcomes", &["a"]);
    shell.wait_until("the end of the run", |shell| {
        shell.api(Method::Get, &format!("/api/v1/runs/{run}"), None).1["state"] == "TERMINATED"
    });
    shell.control(Method::Post, "/clock", &json!({ "seconds": forty_days }));
    let result = shell.run(&["run", "download", "--no-create-subdirectory-for-run", &run, "results"]);
    result.assert_code(6);
    assert!(result.error_message().contains("deleted by the retention policy"), "{}", result.stderr);
    let described = shell.run(&["run", "describe", &run]);
    assert!(described.stdout.contains("deleted by the retention policy"), "{}", described.stdout);
    assert!(!described.stdout.contains("results until"), "{}", described.stdout);
}

#[test]
fn result_download_has_the_layout_of_the_python_command() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    shell.run(&["run", "result", "download", &run, "results"]).assert_code(0);
    assert!(shell.folder().join("results").join(&run).join("a").is_dir());
    let flat = ["--no-create-subdirectory-for-run", "--no-create-subdirectory-per-item"];
    shell.run(&[&["run", "result", "download", &run, "flat"], &flat[..]].concat()).assert_code(0);
    assert!(fs::read_dir(shell.folder().join("flat")).unwrap().all(|entry| entry.unwrap().path().is_file()));
}

#[test]
fn failed_download_is_reported_with_a_reason() {
    let shell = Shell::start();
    let unknown = "00000000-0000-0000-0000-000000000000";
    assert_eq!(
        shell.error(2, &["run", "download", "--no-create-subdirectory-for-run", unknown, "results"])["kind"],
        "not_found"
    );
    let run = shell.submit("outcomes", &["a"]);
    fs::write(shell.folder().join("file"), "").unwrap();
    assert_eq!(
        shell.error(1, &["run", "download", "--no-create-subdirectory-for-run", &run, "file"])["kind"],
        "failure"
    );
    let shard = shell.error(2, &["run", "download", "--no-create-subdirectory-for-run", &run, "--shard", "3/3"]);
    assert!(shard["message"].as_str().unwrap().contains("expected INDEX/COUNT"), "{shard}");
    assert_eq!(shell.error(2, &["run", "verify", "nothing-here"])["kind"], "bad_input");
    let mut offline =
        shell.command(&["run", "download", "--no-create-subdirectory-for-run", &run, "results", "--timeout", "1s"]);
    offline.env("AIGNOSTICS_API_ROOT", "http://127.0.0.1:9");
    let result = CommandResult::of(&offline.output().unwrap());
    result.assert_code(1);
    assert!(result.error_message().contains("timed out after 1 s"), "{}", result.stderr);
}

#[test]
fn proxy_password_argument_is_refused_and_not_shown() {
    let shell = Shell::start();
    for proxy in ["http://lab:hunter2@proxy.test:3128", "http://:hunter2@[::"] {
        let result = shell.run(&["run", "download", "--no-create-subdirectory-for-run", "any", "--proxy", proxy]);
        result.assert_code(2);
        assert!(!result.stderr.contains("hunter2"), "{}", result.stderr);
    }
}

#[test]
fn closed_pipe_is_not_an_error() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    let mut command =
        shell.command(&["run", "download", "--no-create-subdirectory-for-run", &run, "results", "--follow"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let result = CommandResult::of(&child.wait_with_output().unwrap());
    result.assert_code(0);
    assert_eq!(result.stderr, "");
}

#[cfg(target_os = "linux")]
#[test]
fn bars_are_drawn_only_on_a_terminal() {
    let shell = Shell::start();
    crate::slides::write_slide(&shell.folder().join("slides/a.tiff"));
    let run = shell.submit("outcomes", &["a", "b"]);
    let download = ["run", "download", "--no-create-subdirectory-for-run", &run, "results", "--follow"];
    for (arguments, bars) in [(&["run", "prepare", "slides"][..], &["slides"][..]), (&download, &["items", "bytes"])] {
        let (code, printed) = shell.on_terminal(arguments, "");
        assert_eq!(code, Some(0), "{printed}");
        for bar in bars {
            assert!(printed.contains(&format!("{bar} ")) && printed.contains('█'), "{bar}: {printed:?}");
        }
        assert!(printed.ends_with("\u{1b}[2K"), "the lines contain escape sequences: {printed:?}");
        for silent in ["--quiet", "--verbose", "--format=json"] {
            let (code, printed) = shell.on_terminal(&[arguments, &[silent]].concat(), "");
            assert!(code == Some(0) && !printed.contains('█'), "{silent}: {printed:?}");
        }
        let result = shell.run(arguments);
        assert!(!result.stderr.contains('█'), "{}", result.stderr);
    }
}

#[test]
fn altered_results_stay_in_the_manifest_until_forgotten() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a", "b"]);
    let report =
        shell.json("report", &["run", "download", "--no-create-subdirectory-for-run", &run, "results", "--follow"]);
    let file = report["items"][0]["artifacts"][0]["file"].as_str().unwrap().to_owned();
    let (item, results) = (report["items"][0]["external_id"].as_str().unwrap(), shell.folder().join("results"));
    fs::remove_file(results.join(&file)).unwrap();
    let other = if item == "a" { "b" } else { "a" };
    shell.json("report", &["run", "download", "--no-create-subdirectory-for-run", &run, "results", "--item", other]);
    let result = shell.run(&["run", "verify", "results"]);
    result.assert_code(6);
    assert!(result.stdout.lines().any(|line| line.contains("MISSING") && line.ends_with(&file)), "{}", result.stdout);
    assert_eq!(shell.error(2, &["run", "forget", "results", "nothing"])["kind"], "bad_input");
    assert_eq!(shell.json("forgotten", &["run", "forget", "results", &file])["removed"], 1);
    let check = shell.json("folder-check", &["run", "verify", "results", "--sha256sums"]);
    let manifest = &check["files"][0]["manifest"];
    assert!(manifest["platform"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{manifest:#}");
    assert!(["organization", "user", "tool"].iter().all(|key| manifest[key].is_string()), "{manifest:#}");
    let sha256sums = fs::read_to_string(results.join("SHA256SUMS")).unwrap();
    assert_eq!(sha256sums.lines().count(), check["files"].as_array().unwrap().len());
}

#[test]
fn leftovers_are_listed_and_removed() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    shell.json(
        "report",
        &["run", "download", "--no-create-subdirectory-for-run", &run, "results", "--follow", "--no-lock"],
    );
    let results = shell.folder().join("results");
    for name in [".x.csv.part", ".x.csv.state", ".y.csv.corrupt"] {
        fs::write(results.join("a").join(name), "x").unwrap();
    }
    let dry_run = shell.json("clean", &["run", "clean", "results", "--dry-run"]);
    assert_eq!((&dry_run["removed"], dry_run["files"].as_array().unwrap().len()), (&json!(false), 3), "{dry_run:#}");
    assert_eq!(shell.json("clean", &["run", "clean", "results"])["files"], dry_run["files"]);
    assert_eq!(shell.json("clean", &["run", "clean", "results"])["files"], json!([]));
    shell.run(&["run", "verify", "results"]).assert_code(0);
    assert_eq!(shell.error(2, &["run", "clean", "."])["kind"], "bad_input");
}

#[test]
fn names_and_durability_are_options_of_a_download() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["cohort/a.tiff"]);
    for (name_by, durability, expected) in [
        ("relative", "batch", "cohort/a.tiff/report_summary.json"),
        ("stem", "none", "a/report_summary.json"),
        ("id", "file", "cohort%2Fa.tiff/report%3Asummary.json"),
    ] {
        let download = ["run", "download", &run, name_by, "--follow", "--name-by", name_by, "--durability", durability];
        let report = shell.json("report", &download);
        let file = report["items"][0]["artifacts"][0]["file"].as_str().unwrap();
        assert_eq!(file, format!("{run}/{expected}"), "a folder for the run is the default");
        assert!(shell.folder().join(name_by).join(file).is_file());
    }
}
