use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::command::{BINARY, CommandResult, Sandbox};

const RESULTS: &str = "/platform-files/results/";
const SLIDES: &str = "/emulator-bucket/slides/";

#[test]
fn demo_produces_verified_results() {
    let sandbox = Sandbox::new();
    let result = sandbox.run(&[]);
    result.assert_code(0);
    sandbox.assert_manifest_is_correct();
    sandbox.assert_no_leftovers();
    let files: Vec<_> = sandbox.files().into_keys().collect();
    let expected = ["biopsy.tiff", "resection.tiff", "smear.svs"].map(|item| {
        ["areas.csv", "heatmap.tiff", "polygons.geojson"].map(|artifact| format!("{item}/tissue_{artifact}"))
    });
    assert_eq!(files, expected.concat());
    for item in ["biopsy.tiff", "resection.tiff", "smear.svs"] {
        assert!(result.row(item).starts_with(&format!("{item} succeeded 3/3 ")), "{}", result.stdout);
    }
    assert!(result.stdout.contains(&format!("results: {}", sandbox.output().display())), "{}", result.stdout);
    assert!(!result.stdout.contains('\u{1b}'), "no colors without a terminal");
    // Each step is a request over HTTP.
    for (server, method, path, count) in [
        ("identity", "POST", "/oauth/device/code", 1),
        ("identity", "POST", "/activate", 1),
        ("identity", "POST", "/oauth/token", 1),
        ("identity", "GET", "/.well-known/jwks.json", 1),
        // Cached responses are not requested again.
        ("api", "GET", "/api/v1/applications", 2),
        ("api", "GET", "/api/v1/applications/tissue/versions/1.0.0", 1),
        ("storage", "PUT", SLIDES, 3),
        ("storage", "GET", SLIDES, 3),
        ("api", "POST", "/api/v1/runs", 1),
        ("storage", "GET", RESULTS, 9),
    ] {
        assert_eq!(result.served(server, method, path), count, "{server} {method} {path}\n{}", result.stderr);
    }
}

#[test]
fn second_run_does_not_fetch_existing_files() {
    let sandbox = Sandbox::new();
    sandbox.run(&[]).assert_code(0);
    let first = (sandbox.files(), sandbox.manifest());
    let second = sandbox.run(&[]);
    second.assert_code(0);
    assert_eq!((second.served("api", "POST", "/api/v1/runs"), second.served("storage", "GET", RESULTS)), (1, 0));
    assert_eq!(sandbox.files(), first.0);
    sandbox.assert_manifest_is_correct();
    assert!(
        sandbox
            .manifest()
            .iter()
            .zip(&first.1)
            .all(|(new, old)| new["run"] != old["run"] && new["file"] == old["file"])
    );

    let [missing, damaged] =
        ["smear.svs/tissue_areas.csv", "biopsy.tiff/tissue_heatmap.tiff"].map(|file| sandbox.output().join(file));
    fs::remove_file(missing).unwrap();
    let length = fs::metadata(&damaged).unwrap().len();
    fs::write(&damaged, vec![0; usize::try_from(length).unwrap()]).unwrap();
    let repaired = sandbox.run(&[]);
    repaired.assert_code(0);
    assert_eq!(repaired.served("storage", "GET", RESULTS), 2);
    assert_eq!(sandbox.files(), first.0);
}

#[test]
fn samples_are_kept_in_the_folder_that_the_user_names() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path("samples");
    let keep = ["--keep-slides", folder.to_str().unwrap()];
    sandbox.run(&keep).assert_code(0);
    let names = ["biopsy.tiff", "resection.tiff", "smear.svs"];
    let slides = names.map(|name| fs::read(folder.join(name)).unwrap());
    // Other files in the folder are not slides of the demo.
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    fs::remove_file(folder.join("smear.svs")).unwrap();
    sandbox.run(&keep).assert_code(0);
    assert_eq!(names.map(|name| fs::read(folder.join(name)).unwrap()), slides);
    // The slides are usable input.
    fs::remove_file(folder.join("notes.txt")).unwrap();
    sandbox.run(&["--slides", folder.to_str().unwrap()]).assert_code(0);
    // A file of the user is not replaced.
    fs::write(folder.join("biopsy.tiff"), "mine").unwrap();
    let refused = sandbox.run(&keep);
    refused.assert_code(1);
    assert!(
        refused.error_message().contains("biopsy.tiff") && refused.error_message().contains("another folder"),
        "{}",
        refused.error_message()
    );
    assert_eq!(fs::read_to_string(folder.join("biopsy.tiff")).unwrap(), "mine");
    sandbox.run(&["--slides", "a", "--keep-slides", "b"]).assert_code(2);
    sandbox.assert_no_leftovers();
}

#[test]
fn no_output_shows_a_token_or_a_signature() {
    let sandbox = Sandbox::new();
    let result = sandbox.run(&[]);
    result.assert_code(0);
    for text in [&result.stdout, &result.stderr] {
        // The start of a JWT in base64, and the signature parameter of a signed URL.
        assert!(!text.contains("eyJ") && !text.contains("X-Amz-Signature"), "{text}");
    }
}

#[test]
fn unusable_output_folder_fails_before_submission() {
    type Preparation = fn(&Path);
    let cases: [(&str, Preparation); 6] = [
        ("results", |folder| fs::write(folder, "a file where a folder should be").unwrap()),
        ("manifest.jsonl", |folder| write_obstacle(folder, "manifest.jsonl", "my notes\n")),
        ("manifest.jsonl", |folder| write_obstacle(folder, "manifest.jsonl", "my notes without an end")),
        ("manifest.jsonl", |folder| fs::create_dir_all(folder.join("manifest.jsonl")).unwrap()),
        ("smear.svs", |folder| write_obstacle(folder, "smear.svs", "a file where a folder should be")),
        (".aignostics.lock", |folder| fs::create_dir_all(folder.join(".aignostics.lock")).unwrap()),
    ];
    for (obstacle, prepare) in cases {
        let sandbox = Sandbox::new();
        prepare(&sandbox.output());
        let before = sandbox.files();
        let result = sandbox.run(&[]);
        result.assert_code(1);
        let message = result.error_message();
        assert!(message.contains(&format!("{obstacle}: ")) && message.contains("--output"), "{message}");
        assert!(result.stdout.is_empty());
        assert_eq!(
            (result.served("storage", "PUT", "/"), result.served("api", "POST", "/api/v1/runs")),
            (0, 0),
            "{obstacle}"
        );
        assert_eq!(sandbox.files(), before);
        sandbox.assert_no_leftovers();
    }
}

fn write_obstacle(folder: &Path, name: &str, content: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), content).unwrap();
}

#[test]
fn concurrent_demo_cannot_use_the_same_folder() {
    let sandbox = Sandbox::new();
    let mut first = sandbox.demo(&[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut printed = BufReader::new(first.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("[1/8]") {
        line.clear();
        assert_ne!(printed.read_line(&mut line).unwrap(), 0);
    }
    let second = sandbox.run(&[]);
    io::copy(&mut printed, &mut io::sink()).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(0));
    second.assert_code(1);
    assert!(second.error_message().contains("another process"), "{}", second.error_message());
    sandbox.assert_manifest_is_correct();
}

#[test]
fn closed_pipe_does_not_change_the_results() {
    for verbose in [false, true] {
        let sandbox = Sandbox::new();
        let mut command = Command::new(BINARY);
        command.args(verbose.then_some("--verbose")).args(["demo", "--output"]).arg(sandbox.output());
        command.env("TMPDIR", sandbox.temporary());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().unwrap().code(), Some(0), "verbose: {verbose}");
        sandbox.assert_manifest_is_correct();
        sandbox.assert_no_leftovers();
    }
}

#[test]
fn demo_needs_no_certificates() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.demo(&[]);
    command.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", "/nonexistent");
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        command.env(proxy, "http://127.0.0.1:9");
    }
    CommandResult::of(&command.output().unwrap()).assert_code(0);
}
