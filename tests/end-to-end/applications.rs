//! `aignostics application`: applications, versions, documents, schemata.

use std::fs::{self, File};
use std::io::Read;

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::shell::Shell;

#[test]
fn applications_are_listed_and_described() {
    let shell = Shell::start();
    let listed = shell.json("applications", &["application", "list"]);
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|application| &application["application_id"]).collect();
    assert_eq!(ids, ["tissue", "he-tme", "test-app", "outcomes", "many-files", "huge-file"]);
    let tissue = shell.json("application", &["application", "describe", "tissue"]);
    assert_eq!(tissue["versions"][0]["number"], "1.0.0");
    let lines = shell.run(&["application", "list", "--format", "jsonl", "--no-verbose"]);
    assert_eq!(lines.stdout.lines().count(), ids.len());
    insta::assert_snapshot!("applications", shell.transcript(&["application", "list"]));
    insta::assert_snapshot!("application", shell.transcript(&["application", "describe", "tissue"]));
    let verbose = shell.run(&["application", "list", "--verbose"]);
    assert!(verbose.stdout.contains("Finds the tissue on a slide"), "{}", verbose.stdout);
}

#[test]
fn versions_are_listed_the_highest_first_and_described() {
    let shell = Shell::start();
    let versions = shell.json("versions", &["application", "version", "list", "tissue"]);
    let numbers: Vec<_> = versions.as_array().unwrap().iter().map(|version| &version["number"]).collect();
    assert_eq!(numbers, ["1.0.0", "0.9.0"]);
    let latest = shell.json("version", &["application", "version", "describe", "tissue"]);
    assert_eq!(latest["version_number"], "1.0.0");
    let named = shell.json("version", &["application", "version", "describe", "tissue", "0.9.0"]);
    assert_eq!(named["version_number"], "0.9.0");
    insta::assert_snapshot!("versions", shell.transcript(&["application", "version", "list", "tissue"]));
    insta::assert_snapshot!("version", shell.transcript(&["application", "version", "describe", "tissue"]));
}

#[test]
fn document_is_downloaded_under_a_safe_name() {
    const NAME: &str = "release notes/changes.txt";
    let shell = Shell::start();
    let documents = ["application", "version", "document"];
    let listed = shell.json("documents", &[&documents[..], &["list", "tissue"]].concat());
    assert_eq!(listed[1]["name"], NAME);
    let described = shell.json("document", &[&documents[..], &["describe", "tissue", NAME]].concat());
    assert_eq!(described, listed[1]);
    insta::assert_snapshot!("documents", shell.transcript(&[&documents[..], &["list", "tissue"]].concat()));
    insta::assert_snapshot!("document", shell.transcript(&[&documents[..], &["describe", "tissue", NAME]].concat()));

    let download = [&documents[..], &["download", "tissue", NAME, "--output", "papers"]].concat();
    let older = [&download[..], &["--application-version", "0.9.0"]].concat();
    let first = shell.json("document-file", &older);
    assert_eq!((&first["already_present"], &first["verification"]), (&json!(false), &json!("storage")));
    let path = shell.folder().join("papers/release notes%2Fchanges.txt");
    let old = fs::read_to_string(&path).unwrap();
    assert!(old.contains("The first version."), "{old}");
    assert_eq!(shell.json("document-file", &older)["already_present"], true);
    // Another version replaces the file completely.
    insta::assert_snapshot!("document_download", shell.transcript(&download));
    assert!(fs::read_to_string(&path).unwrap().contains("Outlines have holes."));
    assert_eq!(fs::read_dir(shell.folder().join("papers")).unwrap().count(), 1, "no other files exist");
}

#[test]
fn schemata_are_written_as_files_or_as_one_archive() {
    let shell = Shell::start();
    let dump = ["application", "dump-schemata", "tissue", "--destination", "new/schemata"];
    let dumped = shell.json("schemata", &[&dump[..], &["--no-zip"]].concat());
    let files = dumped["files"].as_array().unwrap();
    let input = shell.folder().join("new/schemata/tissue_1.0.0_input_whole_slide_image.json");
    assert!(files.iter().any(|file| shell.folder().join(file.as_str().unwrap()) == input), "{dumped}");
    let schema: Value = serde_json::from_slice(&fs::read(&input).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap();
    insta::assert_snapshot!("schemata", shell.transcript(&dump));
    let page = fs::read_to_string(shell.folder().join("new/schemata/tissue_1.0.0_schemata.md")).unwrap();
    assert!(page.contains("- input whole_slide_image: `tissue_1.0.0_input_whole_slide_image.json`"), "{page}");

    let zipped = ["application", "dump-schemata", "tissue", "--destination", "zipped", "--zip"];
    let version = ["--application-version", "0.9.0"];
    let archive = shell.json("schemata", &[&zipped[..], &version].concat());
    assert_eq!(archive["files"], json!(["zipped/tissue_0.9.0_schemata.zip"]));
    assert_eq!(fs::read_dir(shell.folder().join("zipped")).unwrap().count(), 1, "only the archive exists");
    let file = File::open(shell.folder().join("zipped/tissue_0.9.0_schemata.zip")).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    assert_eq!(archive.len(), files.len());
    let mut text = String::new();
    let name = "tissue_0.9.0_input_whole_slide_image.json";
    archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), schema);
}

#[test]
fn missing_objects_are_exit_code_2() {
    let shell = Shell::start();
    for arguments in [
        &["application", "describe", "nothing"][..],
        &["application", "version", "list", "nothing"],
        &["application", "version", "describe", "nothing"],
        &["application", "version", "describe", "tissue", "7.0.0"],
        &["application", "dump-schemata", "nothing"],
        &["application", "version", "document", "list", "tissue", "--application-version", "7.0.0"],
        &["application", "version", "document", "describe", "tissue", "nothing.pdf"],
        &["application", "version", "document", "download", "tissue", "nothing.pdf"],
    ] {
        assert_eq!(shell.error(2, arguments)["kind"], "not_found", "{arguments:?}");
    }
    for arguments in
        [&["application", "version", "describe", "tissue", "seven"][..], &["application", "describe", ".."]]
    {
        assert_eq!(shell.error(2, arguments)["kind"], "bad_input", "{arguments:?}");
    }
    assert_eq!(
        fs::read_dir(shell.folder()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count(),
        0
    );
    insta::assert_snapshot!("no_application", shell.transcript(&["application", "describe", "nothing"]));
}

#[test]
fn unreadable_catalog_is_reported_with_a_reason() {
    let shell = Shell::start();
    let failure_with = |name: &str, value: &str| {
        let mut command = shell.command(&["application", "list", "--timeout", "1s", "--format", "json"]);
        let result = CommandResult::of(&command.env(name, value).output().unwrap());
        let error: Value = serde_json::from_str(&result.stderr).unwrap();
        (result.code.unwrap(), error["error"]["kind"].as_str().unwrap().to_owned())
    };
    assert_eq!(failure_with("AIGNOSTICS_REFRESH_TOKEN", ""), (4, "login_required".to_owned()));
    assert_eq!(failure_with("AIGNOSTICS_API_ROOT", "http://127.0.0.1:9").0, 1);
    let forbidden = json!({ "server": "api", "path": "/api/v1/applications", "times": 1, "effect": { "kind": "status", "status": 403 } });
    shell.control(Method::Post, "/faults", &forbidden);
    assert_eq!(shell.error(4, &["application", "list"])["kind"], "forbidden");
    let file = shell.folder().join("file");
    fs::write(&file, "").unwrap();
    let into = ["application", "dump-schemata", "tissue", "--destination", "file/below"];
    assert_eq!(shell.error(1, &into)["kind"], "failure");
}

#[test]
fn application_run_is_the_same_as_run() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    let report = shell.json(
        "report",
        &["application", "run", "download", "--no-create-subdirectory-for-run", &run, "results", "--follow"],
    );
    assert_eq!(report["complete"], true);
    let check = ["run", "verify", "results"];
    assert_eq!(
        shell.json("folder-check", &check),
        shell.json("folder-check", &[&["application"], &check[..]].concat())
    );
}
