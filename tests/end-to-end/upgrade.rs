//! Files of an earlier version: the login store, journals of submissions, folders of results, and data of the emulator.
//!
//! `upgrade/0.1.0.tar.gz` contains the files of version 0.1.0 in one folder:
//! - `data`: the data of an emulator with `--seed 1`
//! - `user`: the state of a user after `user login --with-refresh-token`
//! - `study`: a study after `run execute tissue study/slides.csv slides`
//! - `partial`: a partial download of the run of `run submit huge-file volume.json --once first-volume`. The storage
//!   failed after the second part of 64 KiB.
//!
//! The emulator must have the same addresses again, because the keys of the login and of the submissions contain them.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value};

use crate::clocks::faketime;
use crate::command::{BINARY, CommandResult, Sandbox};

/// The address of the emulator. No other program uses it.
const ADDRESS: &str = "127.83.71.1";
const PORT: &str = "18400";
/// A time at which the access token has expired, but not the refresh token.
const NOW: &str = "@2026-12-06 12:00:00";
const STUDY_RUN: &str = "db0a000b-3848-4621-af62-11827972b8fd";
const VOLUME_RUN: &str = "6886f4a5-fbf4-43b6-82f3-cb6f6276d8b6";
const RESULTS: &str = "/platform-files/results/";

/// Unpacks the files of the earlier version into a new folder.
fn unpack() -> Sandbox {
    let sandbox = Sandbox::new();
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/end-to-end/upgrade/0.1.0.tar.gz");
    let unpacked =
        Command::new("tar").args(["--extract", "--gzip", "--file", archive]).current_dir(sandbox.path("")).status();
    assert!(unpacked.unwrap().success());
    sandbox
}

/// Runs a script in the folder, with an emulator that uses the unpacked data.
fn run(sandbox: &Sandbox, library: &str, script: &str) -> CommandResult {
    // Tests in another checkout may run at the same time and need the same address.
    let lock_file = File::create(std::env::temp_dir().join("aignostics-upgrade-tests.lock")).unwrap();
    lock_file.lock().unwrap();
    let mut command = Command::new(BINARY);
    command.args([
        "--verbose",
        "emulator",
        "--address",
        ADDRESS,
        "--host",
        ADDRESS,
        "--port",
        PORT,
        "--data-dir",
        "data",
    ]);
    let folders = r#"
        export HOME="$PWD/user/home" AIGNOSTICS_CACHE_DIR="$PWD/user/cache" AIGNOSTICS_STATE_DIR="$PWD/user/state"
        unset AIGNOSTICS_REFRESH_TOKEN
        aignostics() { "$BINARY" "$@"; }"#;
    command.args(["exec", "--", "sh", "-euc", &format!("{folders}\n{script}")]).env("BINARY", BINARY);
    command.env("LD_PRELOAD", library).env("FAKETIME", NOW).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    CommandResult::of(&command.current_dir(sandbox.path("")).env("TMPDIR", sandbox.temporary()).output().unwrap())
}

#[test]
fn login_of_an_earlier_version_is_refreshed() {
    let Some(library) = faketime() else { return };
    let sandbox = unpack();
    let result = run(&sandbox, &library, "aignostics user whoami; aignostics auth token >/dev/null");
    result.assert_code(0);
    assert!(result.stdout.contains("Ada Emulator"), "{}", result.stdout);
    assert_eq!(result.served("identity", "POST", "/oauth/token"), 1, "{}", result.stderr);
}

#[test]
fn study_of_an_earlier_version_is_not_submitted_again() {
    let Some(library) = faketime() else { return };
    let sandbox = unpack();
    let missing = format!("study/{STUDY_RUN}/small.tiff/tissue_heatmap.tiff");
    fs::remove_file(sandbox.path(&missing)).unwrap();
    let result =
        run(&sandbox, &library, "aignostics run execute tissue study/slides.csv slides; aignostics run verify study");
    result.assert_code(0);
    let changing_requests =
        ["api", "storage"].map(|server| result.served(server, "POST", "/") + result.served(server, "PUT", "/"));
    assert_eq!((changing_requests, result.served("storage", "GET", RESULTS)), ([0, 0], 1), "{}", result.stderr);
    assert!(result.stderr.contains(&format!("1 already processed in run {STUDY_RUN}")), "{}", result.stderr);
    assert!(sandbox.path(&missing).exists());
}

#[test]
fn manifest_of_the_first_version_is_continued() {
    const KNOWN: [&str; 9] = ["run", "application", "version", "item", "artifact", "file", "bytes", "crc32c", "at"];
    let Some(library) = faketime() else { return };
    let sandbox = unpack();
    let path = sandbox.path("study/manifest.jsonl");
    let as_first_version = |line: &str| {
        let fields: Map<String, Value> = serde_json::from_str(line).unwrap();
        let mut known_fields: Map<String, Value> =
            fields.into_iter().filter(|(name, _)| KNOWN.contains(&name.as_str())).collect();
        known_fields.insert("verification".to_owned(), "stated".into());
        format!("{}\n", Value::from(known_fields))
    };
    let lines: String = fs::read_to_string(&path).unwrap().lines().map(as_first_version).collect();
    fs::write(&path, lines).unwrap();
    let execute = "aignostics run verify study; aignostics run execute tissue study/slides.csv slides; aignostics run verify study";
    let result = run(&sandbox, &library, execute);
    result.assert_code(0);
    assert_eq!(result.served("storage", "GET", RESULTS), 0, "{}", result.stderr);
    let lines = fs::read_to_string(&path).unwrap();
    assert_eq!(
        lines.matches("\"organization\":\"org_emulator\"").count(),
        3,
        "the origin of each file is added: {lines}"
    );
}

#[test]
fn submission_of_an_earlier_version_is_found_in_both_of_its_folders() {
    let Some(library) = faketime() else { return };
    for folder in ["state", "cache"] {
        let sandbox = unpack();
        if folder == "cache" {
            move_journal(&sandbox.path("user/state/submissions"), &sandbox.path("user/cache/submissions"));
        }
        let result = run(&sandbox, &library, "aignostics run submit huge-file volume.json --once first-volume");
        result.assert_code(0);
        assert_eq!(result.stdout.trim(), VOLUME_RUN, "{folder}: {}", result.stderr);
        assert_eq!(result.served("api", "POST", "/api/v1/runs"), 0, "{folder}");
    }
}

/// Moves the files of a journal. The first versions had no folders in it.
fn move_journal(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::rename(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    fs::remove_dir_all(from).unwrap();
}

#[test]
fn partial_download_of_an_earlier_version_is_resumed() {
    let Some(library) = faketime() else { return };
    let sandbox = unpack();
    let download =
        format!("aignostics run download {VOLUME_RUN} partial --chunk-size 64K; aignostics run verify partial");
    let result = run(&sandbox, &library, &download);
    result.assert_code(0);
    // Two of three parts are complete.
    assert_eq!(result.served("storage", "GET", RESULTS), 1, "{}", result.stderr);
    let file = sandbox.path(&format!("partial/{VOLUME_RUN}/volume/volume_intensities.bin"));
    assert_eq!(fs::metadata(file).unwrap().len(), 3 << 16);
}
