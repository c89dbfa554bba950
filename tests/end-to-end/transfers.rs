//! Options of transfers.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::command::CommandResult;
use crate::shell::{Shell, assert_conforms};

/// More bytes than the limit allows in two seconds.
const BYTES: usize = 700 << 10;

#[test]
fn rate_limit_applies_to_all_requests_together() {
    let shell = Shell::start();
    let slides = shell.folder().join("slides");
    fs::create_dir(&slides).unwrap();
    for name in ["a.svs", "b.svs"] {
        fs::write(slides.join(name), vec![7; BYTES / 2]).unwrap();
    }
    for command in [
        &["bucket", "upload", "slides", "--destination-prefix", "study", "--limit-rate", "300K"][..],
        &["bucket", "download", "study/**", "--destination", "back", "--limit-rate", "300K"],
    ] {
        let start = Instant::now();
        shell.run(command).assert_code(0);
        assert!(start.elapsed() >= Duration::from_secs(2), "{command:?} took {:?}", start.elapsed());
    }
    assert_eq!(fs::read(shell.folder().join("back/study/b.svs")).unwrap(), vec![7; BYTES / 2]);
}

#[test]
fn transfer_options_have_limits_and_settings() {
    let shell = Shell::start();
    fs::write(shell.folder().join("a.svs"), "a").unwrap();
    let upload = ["bucket", "upload", "a.svs", "--destination-prefix", "study"];
    shell
        .run(&[&upload[..], &["--jobs", "200", "--chunk-size", "1G", "--upload-read-timeout", "5m"]].concat())
        .assert_code(0);
    let download = ["bucket", "download", "--destination", "back"];
    shell.run(&[&download[..], &["--jobs", "256", "--chunk-size", "64K"]].concat()).assert_code(0);
    for invalid in
        [["--jobs", "0"], ["--jobs", "257"], ["--chunk-size", "1K"], ["--limit-rate", "0"], ["--limit-rate", "fast"]]
    {
        let error = shell.error(2, &[&download[..], &invalid].concat());
        assert_eq!(error["kind"], "bad_input", "{invalid:?}");
    }
    let settings = [
        ("AIGNOSTICS_TRANSFER_JOBS", "3"),
        ("AIGNOSTICS_TRANSFER_LIMIT_RATE", "10M"),
        ("AIGNOSTICS_TRANSFER_CHUNK_SIZE", "16M"),
        ("AIGNOSTICS_TRANSFER_SHA256", "no"),
        ("AIGNOSTICS_UPLOAD_READ_TIMEOUT", "300"),
    ];
    let mut command = shell.command(&["system", "config", "--format", "json"]);
    let result = CommandResult::of(&command.envs(settings).output().unwrap());
    let config: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_conforms("config", &config);
    let expected = json!({
        "jobs": 3, "limit_rate": 10 << 20, "chunk_size": 16 << 20, "sha256": false, "upload_read_timeout": 300.0
    });
    assert_eq!(config["settings"]["transfer"], expected);
    for (name, value) in
        [(settings[0].0, "0"), (settings[1].0, "1.5M"), (settings[2].0, "2G"), (settings[3].0, "maybe")]
    {
        let result = CommandResult::of(&shell.command(&download).env(name, value).output().unwrap());
        result.assert_code(2);
        assert!(result.stderr.contains(name), "{}", result.stderr);
    }
}

#[test]
fn verify_adds_omitted_digests() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    let download = ["run", "download", &run, "results", "--follow", "--sha256"];
    let first_digest = |report: Value| report["items"][0]["artifacts"][0]["sha256"].clone();
    assert!(first_digest(shell.json("report", &[&download[..], &["no"]].concat())).is_null());
    let check = shell.json("folder-check", &["run", "verify", "results", "--sha256sums"]);
    assert_eq!((&check["intact"], &check["files"][0]["manifest"]["sha256"]), (&json!(true), &json!(null)));
    let sha256sums = || fs::read_to_string(shell.folder().join("results/SHA256SUMS")).unwrap();
    assert_eq!(sha256sums().lines().count(), check["files"].as_array().unwrap().len());
    let other_run = shell.submit("outcomes", &["b"]);
    shell.json("report", &["run", "download", &other_run, "results", "--follow", "--sha256", "no"]);
    assert!(sha256sums().starts_with("# Partial"), "{}", sha256sums());
    let digest = first_digest(shell.json("report", &[&download[..], &["yes"]].concat()));
    assert!(sha256sums().contains(digest.as_str().unwrap()), "an existing file is read for its digest");
}
