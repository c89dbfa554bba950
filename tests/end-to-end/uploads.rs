//! `aignostics bucket upload` of large files, in parts, and `aignostics bucket uploads`.

use std::fs;
use std::process::Stdio;

use auth_http::Method;
use serde_json::json;

use crate::shell::Shell;

const PART: usize = 8 << 20;
const PARTS: usize = 8;
const UPLOAD: [&str; 5] = ["bucket", "upload", "slide.tiff", "--destination-prefix", "study"];

/// Returns a shell with a slide that is uploaded in eight parts.
fn with_slide() -> Shell {
    let shell = Shell::start();
    let content: Vec<u8> = (0..PARTS * PART).map(|index| u8::try_from(index % 251).unwrap()).collect();
    fs::write(shell.folder().join("slide.tiff"), content).unwrap();
    shell
}

fn part_requests(shell: &Shell) -> usize {
    shell.requests("storage", "PUT", "/emulator-bucket/study/slide.tiff").len()
}

/// Starts an upload that stalls after three parts, and kills it when they are confirmed.
fn kill_after_three_parts(shell: &Shell) {
    let stall = json!({ "server": "storage", "method": "PUT", "after": 3, "effect": { "kind": "stall_request", "after_bytes": 1000 } });
    shell.control(Method::Post, "/faults", &stall);
    let mut child = shell.command(&UPLOAD).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let root = shell.sandbox.path(".");
    shell.wait_until("three confirmed parts", |_| confirmed_parts(&root) == 3);
    child.kill().unwrap();
    child.wait().unwrap();
    shell.control(Method::Delete, "/faults", &json!(null));
}

/// Returns the number of confirmed parts in all records below a folder.
fn confirmed_parts(folder: &std::path::Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let count = |path: std::path::PathBuf| match path.extension() {
        _ if path.is_dir() => confirmed_parts(&path),
        Some(extension) if extension == "jsonl" => fs::read_to_string(path).unwrap().matches(r#""part":"#).count(),
        _ => 0,
    };
    entries.map(|entry| count(entry.unwrap().path())).sum()
}

#[test]
fn killed_upload_continues_with_the_missing_parts() {
    let shell = with_slide();
    kill_after_three_parts(&shell);
    let unfinished = shell.json("bucket-uploads", &["bucket", "uploads", "list"]);
    assert_eq!(unfinished[0]["key"], "study/slide.tiff", "{unfinished:#}");
    let requests_before = part_requests(&shell);
    let report = shell.json("bucket-upload", &UPLOAD);
    assert_eq!(report["complete"], true, "{report:#}");
    assert_eq!(part_requests(&shell) - requests_before, PARTS - 3);
    assert_eq!(shell.json("bucket-uploads", &["bucket", "uploads", "list"]), json!([]));
    assert_eq!(shell.json("bucket-upload", &UPLOAD)["files"][0]["already_present"], true);
    shell.json("bucket-download", &["bucket", "download", "--destination", "back"]);
    let downloaded = fs::read(shell.folder().join("back/study/slide.tiff")).unwrap();
    assert!(downloaded == fs::read(shell.folder().join("slide.tiff")).unwrap());
}

#[test]
fn unfinished_uploads_are_aborted_after_confirmation() {
    let shell = with_slide();
    kill_after_three_parts(&shell);
    let abort = ["bucket", "uploads", "abort"];
    shell.run(&abort).assert_code(2);
    let none = shell.json("bucket-uploads-aborted", &[&abort[..], &["--older-than", "1h", "--yes"]].concat());
    assert_eq!(none["uploads"], json!([]));
    let none = shell.json("bucket-uploads", &["bucket", "uploads", "list", "--prefix", "other/"]);
    assert_eq!(none, json!([]));
    let aborted = shell.json("bucket-uploads-aborted", &[&abort[..], &["--prefix", "study/", "--yes"]].concat());
    assert_eq!((&aborted["uploads"][0]["outcome"], &aborted["uploads"][0]["error"]), (&json!("aborted"), &json!(null)));
    assert_eq!(shell.json("bucket-uploads", &["bucket", "uploads", "list"]), json!([]));
    // The record of the aborted upload does not affect the next one.
    assert_eq!(shell.json("bucket-upload", &UPLOAD)["complete"], true);
}
