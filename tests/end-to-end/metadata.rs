//! `aignostics run dump-metadata`, `update-metadata`, and the same for items.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::runs::UNKNOWN;
use crate::shell::Shell;

fn dump(shell: &Shell, arguments: &[&str]) -> Value {
    let result = shell.run(arguments);
    result.assert_code(0);
    serde_json::from_str(&result.stdout).unwrap()
}

#[test]
fn metadata_are_dumped_as_json_in_every_form() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    assert_eq!(shell.run(&["run", "dump-metadata", &run]).stdout, "null\n");
    shell.run(&["run", "update-metadata", &run, r#"{"b":{"c":1}}"#, "--no-enrich-sdk-metadata"]).assert_code(0);
    for format in ["table", "json", "jsonl"] {
        let line = shell.run(&["run", "dump-metadata", &run, "--format", format]);
        assert_eq!(line.stdout, "{\"b\":{\"c\":1}}\n");
        let pretty = shell.run(&["run", "dump-metadata", &run, "--pretty", "--format", format]);
        assert_eq!(pretty.stdout, "{\n  \"b\": {\n    \"c\": 1\n  }\n}\n");
    }
    let dumped = shell.json("metadata", &["run", "dump-metadata", &run, "--show-checksum"]);
    assert_eq!(dumped["custom_metadata"], json!({ "b": { "c": 1 } }));
    assert_eq!(dump(&shell, &["run", "dump-item-metadata", &run, "a"]), Value::Null);
}

#[test]
fn concurrent_metadata_change_is_not_overwritten() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    for (kind, item) in [("metadata", None), ("item-metadata", Some("a"))] {
        let (dump, update) = (format!("dump-{kind}"), format!("update-{kind}"));
        let ids: Vec<&str> = [run.as_str()].into_iter().chain(item).collect();
        let update = |json: &'static str, options: &[&str]| {
            [&["run", &update], &ids[..], &[json, "--no-enrich-sdk-metadata"], options].concat().join("\n")
        };
        let arguments = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let run_command = |text: String| shell.run(&arguments(text).iter().map(String::as_str).collect::<Vec<_>>());
        run_command(update(r#"{"a":1}"#, &[])).assert_code(0);
        let dumped = shell.json("metadata", &[&["run", &dump], &ids[..], &["--show-checksum"]].concat());
        let old_checksum = dumped["custom_metadata_checksum"].as_str().unwrap().to_owned();
        let changed = update(r#"{"a":2}"#, &["--checksum", &old_checksum]);
        let changed = arguments(changed);
        let changed = shell.json("metadata-update", &changed.iter().map(String::as_str).collect::<Vec<_>>());
        assert_ne!(changed["custom_metadata_checksum"], old_checksum.as_str());
        assert_eq!(changed.get("external_id").and_then(Value::as_str), item);

        let late_update = run_command(update(r#"{"a":3}"#, &["--checksum", &old_checksum]));
        late_update.assert_code(3);
        assert!(late_update.error_message().contains("fetch the current version"), "{}", late_update.stderr);
        let final_dump = shell.run(&[&["run", &dump], &ids[..]].concat());
        assert_eq!(final_dump.stdout, "{\"a\":2}\n");
    }
}

#[test]
fn metadata_are_read_from_a_file_or_stdin() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    fs::write(shell.folder().join("metadata.json"), r#"{"from":"file"}"#).unwrap();
    shell.run(&["run", "update-metadata", &run, "@metadata.json", "--no-enrich-sdk-metadata"]).assert_code(0);
    assert_eq!(dump(&shell, &["run", "dump-metadata", &run]), json!({ "from": "file" }));
    let printed = shell.run(&["run", "update-item-metadata", &run, "a", "@metadata.json", "--no-enrich-sdk-metadata"]);
    let checksum = dump(&shell, &["run", "dump-item-metadata", &run, "a", "--show-checksum"]);
    let checksum = checksum["custom_metadata_checksum"].as_str().unwrap();
    assert_eq!(printed.stdout, format!("{run}, a: updated, checksum {checksum}\n"));
    let mut command = shell.command(&["run", "update-metadata", &run, "-", "--no-enrich-sdk-metadata"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(br#"{"from":"stdin"}"#).unwrap();
    CommandResult::of(&child.wait_with_output().unwrap()).assert_code(0);
    assert_eq!(dump(&shell, &["run", "dump-metadata", &run]), json!({ "from": "stdin" }));
}

#[test]
fn metadata_update_records_its_author_and_keeps_the_creation() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    shell.run(&["run", "update-metadata", &run, r#"{"sdk":{"tags":["x"],"note":"n"}}"#]).assert_code(0);
    let first = dump(&shell, &["run", "dump-metadata", &run]);
    assert_eq!((&first["sdk"]["tags"], &first["sdk"]["note"]), (&json!(["x"]), &json!("n")));
    assert_eq!(first["sdk"]["submission"]["interface"], "cli");
    assert_eq!(first["sdk"]["user"]["organization_id"], "org_emulator");

    shell.run(&["run", "update-metadata", &run, r#"{"study":1}"#]).assert_code(0);
    let second = dump(&shell, &["run", "dump-metadata", &run]);
    assert_eq!(second["study"], 1);
    assert_eq!(second["sdk"]["created_at"], first["sdk"]["created_at"]);
    assert_eq!(second["sdk"]["submission"]["date"], first["sdk"]["submission"]["date"]);
    assert_ne!(second["sdk"]["updated_at"], first["sdk"]["updated_at"]);
    assert_eq!(second["sdk"].get("tags"), None, "an update replaces the metadata");

    shell.run(&["run", "update-item-metadata", &run, "a", r#"{"sdk":{"tags":["y"]}}"#]).assert_code(0);
    let first = dump(&shell, &["run", "dump-item-metadata", &run, "a"]);
    assert_eq!(first["sdk"]["tags"], json!(["y"]));
    shell.run(&["run", "update-item-metadata", &run, "a", "{}"]).assert_code(0);
    let second = dump(&shell, &["run", "dump-item-metadata", &run, "a"]);
    assert_eq!(second["sdk"]["created_at"], first["sdk"]["created_at"]);
}

#[test]
fn invalid_metadata_change_nothing() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    fs::write(shell.folder().join("bad.json"), "{").unwrap();
    for (argument, reason) in [
        ("[1]", "must be a JSON object"),
        ("{", "not valid JSON"),
        ("@bad.json", "not valid JSON"),
        ("@nothing.json", "cannot read 'nothing.json'"),
        (r#"{"sdk":{"tags":[1]}}"#, "sdk/tags/0"),
        (r#"{"sdk":7}"#, "expected an object"),
    ] {
        let error = shell.error(2, &["run", "update-metadata", &run, argument]);
        assert!(error.to_string().contains(reason), "{argument}: {error}");
    }
    assert_eq!(dump(&shell, &["run", "dump-metadata", &run]), Value::Null);
    for arguments in [
        &["dump-metadata", UNKNOWN][..],
        &["dump-item-metadata", UNKNOWN, "a"],
        &["dump-item-metadata", &run, "b"],
        &["update-metadata", UNKNOWN, "{}"],
        &["update-item-metadata", &run, "b", "{}"],
        &["update-item-metadata", &run, "b", "{}", "--no-enrich-sdk-metadata"],
    ] {
        assert_eq!(shell.error(2, &[&["run"], arguments].concat())["kind"], "not_found", "{arguments:?}");
    }
    let refuse =
        json!({ "effect": { "kind": "status", "status": 403 }, "server": "api", "method": "PUT", "path": "*" });
    shell.control(Method::Post, "/faults", &refuse);
    assert_eq!(shell.error(4, &["run", "update-metadata", &run, "{}"])["kind"], "forbidden");
}
