use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::command::{BINARY, Ended, Lab};

const RESULTS: &str = "/platform-files/results/";
const SLIDES: &str = "/emulator-bucket/slides/";

#[test]
fn slides_go_in_and_verified_results_come_out() {
    let lab = Lab::new();
    let ended = lab.run(&[]);
    ended.assert_code(0);
    lab.assert_manifest_holds();
    lab.assert_nothing_is_left();
    let files: Vec<_> = lab.files().into_keys().collect();
    let expected = ["biopsy.tiff", "resection.tiff", "smear.svs"].map(|item| {
        ["areas.csv", "heatmap.tiff", "polygons.geojson"].map(|artifact| format!("{item}/tissue_{artifact}"))
    });
    assert_eq!(files, expected.concat());
    for item in ["biopsy.tiff", "resection.tiff", "smear.svs"] {
        assert!(ended.row(item).starts_with(&format!("{item} succeeded 3/3 ")), "{}", ended.stdout);
    }
    assert!(ended.stdout.contains(&format!("results: {}", lab.output().display())), "{}", ended.stdout);
    assert!(!ended.stdout.contains('\u{1b}'), "no colors without a terminal");
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
        assert_eq!(ended.served(server, method, path), count, "{server} {method} {path}\n{}", ended.stderr);
    }
}

#[test]
fn second_run_does_not_fetch_existing_files() {
    let lab = Lab::new();
    lab.run(&[]).assert_code(0);
    let first = (lab.files(), lab.manifest());
    let again = lab.run(&[]);
    again.assert_code(0);
    assert_eq!((again.served("api", "POST", "/api/v1/runs"), again.served("storage", "GET", RESULTS)), (1, 0));
    assert_eq!(lab.files(), first.0);
    lab.assert_manifest_holds();
    assert!(
        lab.manifest().iter().zip(&first.1).all(|(new, old)| new["run"] != old["run"] && new["file"] == old["file"])
    );

    let [missing, damaged] =
        ["smear.svs/tissue_areas.csv", "biopsy.tiff/tissue_heatmap.tiff"].map(|file| lab.output().join(file));
    fs::remove_file(missing).unwrap();
    let length = fs::metadata(&damaged).unwrap().len();
    fs::write(&damaged, vec![0; usize::try_from(length).unwrap()]).unwrap();
    let mended = lab.run(&[]);
    mended.assert_code(0);
    assert_eq!(mended.served("storage", "GET", RESULTS), 2);
    assert_eq!(lab.files(), first.0);
}

#[test]
fn no_output_shows_a_token_or_a_signature() {
    let lab = Lab::new();
    let ended = lab.run(&[]);
    ended.assert_code(0);
    for text in [&ended.stdout, &ended.stderr] {
        // The start of a JWT in base64, and the signature parameter of a signed URL.
        assert!(!text.contains("eyJ") && !text.contains("X-Amz-Signature"), "{text}");
    }
}

#[test]
fn unusable_output_folder_fails_before_submission() {
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 6] = [
        ("results", |folder| fs::write(folder, "a file where a folder should be").unwrap()),
        ("manifest.jsonl", |folder| spoil(folder, "manifest.jsonl", "my notes\n")),
        ("manifest.jsonl", |folder| spoil(folder, "manifest.jsonl", "my notes without an end")),
        ("manifest.jsonl", |folder| fs::create_dir_all(folder.join("manifest.jsonl")).unwrap()),
        ("smear.svs", |folder| spoil(folder, "smear.svs", "a file where a folder should be")),
        (".aignostics.lock", |folder| fs::create_dir_all(folder.join(".aignostics.lock")).unwrap()),
    ];
    for (named, spoil) in spoils {
        let lab = Lab::new();
        spoil(&lab.output());
        let before = lab.files();
        let ended = lab.run(&[]);
        ended.assert_code(1);
        let told = ended.told();
        assert!(told.contains(&format!("{named}: ")) && told.contains("--output"), "{told}");
        assert!(ended.stdout.is_empty());
        assert_eq!(
            (ended.served("storage", "PUT", "/"), ended.served("api", "POST", "/api/v1/runs")),
            (0, 0),
            "{named}"
        );
        assert_eq!(lab.files(), before);
        lab.assert_nothing_is_left();
    }
}

fn spoil(folder: &Path, name: &str, content: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), content).unwrap();
}

#[test]
fn a_second_demo_does_not_write_into_the_folder_of_the_first() {
    let lab = Lab::new();
    let mut first = lab.demo(&[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(first.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("[1/8]") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0);
    }
    let second = lab.run(&[]);
    io::copy(&mut said, &mut io::sink()).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(0));
    second.assert_code(1);
    assert!(second.told().contains("another process"), "{}", second.told());
    lab.assert_manifest_holds();
}

#[test]
fn a_reader_that_closes_its_pipe_early_changes_nothing() {
    for verbose in [false, true] {
        let lab = Lab::new();
        let mut command = Command::new(BINARY);
        command.args(verbose.then_some("--verbose")).args(["demo", "--output"]).arg(lab.output());
        command.env("TMPDIR", lab.temporary());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().unwrap().code(), Some(0), "verbose: {verbose}");
        lab.assert_manifest_holds();
        lab.assert_nothing_is_left();
    }
}

#[test]
fn demo_needs_no_certificates() {
    let lab = Lab::new();
    let mut command = lab.demo(&[]);
    command.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", "/nonexistent");
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        command.env(proxy, "http://127.0.0.1:9");
    }
    Ended::of(&command.output().unwrap()).assert_code(0);
}
