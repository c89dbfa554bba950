//! The exit code of each command for each status in the OpenAPI document of the platform, as docs/cli.md lists them.

use std::collections::BTreeMap;
use std::fs;

use auth_http::Method;
use serde_json::{Value, json};

use crate::shell::Shell;

const DOCUMENT: &str = include_str!("../../openapi/platform.json");
const DOCUMENTED_TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
const SUBMISSION: &str = r#"{"application_id": "outcomes", "items": [{"external_id": "b", "input_artifacts":
    [{"name": "whole_slide_image", "download_url": "https://slides.test/b", "metadata": {}}]}]}"#;
/// The placeholder for a command that did not receive the status.
const NOT_SENT: i32 = -1;
/// The configuration of an emulator whose runs do not end.
const SLOW: &str = "speed = 0.000001";

/// A row of the table: the command, and its exit code by status.
#[derive(Debug, PartialEq)]
struct TableRow {
    command: String,
    codes: BTreeMap<u16, i32>,
}

/// Returns the rows of the table in docs/cli.md, by `METHOD /path`.
fn documented_exit_codes() -> BTreeMap<String, TableRow> {
    let guide = fs::read_to_string(DOCUMENTED_TABLE).unwrap();
    let (_, section) = guide.split_once("\n## Statuses of the platform\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [operation, command, codes] = cells.try_into().unwrap_or_else(|_| panic!("{row}"));
        let codes = codes.split(", ").filter(|pair| *pair != "–").map(|pair| {
            let (status, code) = pair.split_once(": ").unwrap_or_else(|| panic!("{row}"));
            (status.parse().unwrap(), code.parse().unwrap())
        });
        let line = TableRow { command: command.trim_matches('`').to_owned(), codes: codes.collect() };
        (operation.trim_matches('`').to_owned(), line)
    })
    .collect()
}

/// Returns the operations of the document with their statuses, in descending order: errors are tested before a success,
/// which may change the state.
fn declared_statuses() -> BTreeMap<String, Vec<u16>> {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, operations)| {
        operations.as_object().unwrap().iter().map(move |(method, operation)| {
            let statuses = operation["responses"].as_object().unwrap().keys().rev();
            let statuses = statuses.map(|status| status.parse().unwrap()).collect();
            (format!("{} {path}", method.to_uppercase()), statuses)
        })
    });
    operations.collect()
}

/// Returns the arguments of a command that sends a request of the operation, or none if no command does.
fn command_arguments(operation: &str, run: &str, token: &str) -> Vec<String> {
    let command: &[&str] = match operation {
        "GET /v1/applications" => &["application", "list"],
        "GET /v1/applications/{application_id}" => &["application", "describe", "tissue"],
        "GET /v1/applications/{application_id}/versions/{version}" => {
            &["application", "version", "describe", "tissue", "1.0.0"]
        }
        "GET /v1/applications/{application_id}/versions/{version}/documents" => {
            &["application", "version", "document", "list", "tissue", "--application-version", "1.0.0"]
        }
        "GET /v1/applications/{application_id}/versions/{version}/documents/{name}" => &[
            "application",
            "version",
            "document",
            "describe",
            "tissue",
            "user-guide.md",
            "--application-version",
            "1.0.0",
        ],
        "GET /v1/applications/{application_id}/versions/{version}/documents/{name}/file" => &[
            "application",
            "version",
            "document",
            "download",
            "tissue",
            "user-guide.md",
            "--application-version",
            "1.0.0",
            "--output",
            "papers",
        ],
        "GET /v1/runs" => &["run", "list"],
        "POST /v1/runs" => &["run", "submit", "outcomes", "submission.json", "--resubmit"],
        "GET /v1/runs/{run_id}" | "GET /v1/runs/{run_id}/items" => &["run", "describe", run],
        "POST /v1/runs/{run_id}/cancel" => &["run", "cancel", run],
        "PUT /v1/runs/{run_id}/custom-metadata" => &["run", "update-metadata", run, "{}"],
        "GET /v1/runs/{run_id}/items/{external_id}" => &["run", "dump-item-metadata", run, "a"],
        "PUT /v1/runs/{run_id}/items/{external_id}/custom-metadata" => &["run", "update-item-metadata", run, "a", "{}"],
        "DELETE /v1/runs/{run_id}/artifacts" => &["run", "result", "delete", run, "--yes"],
        "GET /v1/runs/{run_id}/artifacts/{artifact_id}/file" => &["run", "download", run, "results", "--follow"],
        "POST /v1/access/grants" => &["run", "share", "organization", "grant", run],
        "GET /v1/access/grants" => &["run", "share", "organization", "list", run],
        "DELETE /v1/access/grants/{grant_id}" => &["run", "share", "organization", "revoke", run],
        "POST /v1/access/share-tokens" => &["run", "share", "token", "create", run],
        "GET /v1/access/share-tokens" => &["run", "share", "token", "list", run],
        "DELETE /v1/access/share-tokens/{share_token_id}" => {
            &["run", "share", "token", "revoke", run, token, "--everywhere"]
        }
        "GET /v1/me" => &["user", "whoami"],
        _ => &[],
    };
    command.iter().map(|argument| (*argument).to_owned()).collect()
}

/// Runs the command of an operation once for each response status, and returns its exit codes.
fn exit_codes_of(shell: &Shell, operation: &str, statuses: &[u16]) -> BTreeMap<u16, i32> {
    let (method, template) = operation.split_once(' ').unwrap();
    let pattern = format!("/api{}", path_pattern(template));
    let run = shell.submit("outcomes", &["a"]);
    shell.run(&["run", "share", "organization", "grant", &run]).assert_code(0);
    let token = shell.json("share-token-created", &["run", "share", "token", "create", &run]);
    let arguments = command_arguments(operation, &run, token["share_token_id"].as_str().unwrap());
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let code = |status: u16| {
        let fault = json!({ "server": "api", "method": method, "path": pattern, "effect": { "kind": "status", "status": status } });
        // A success needs a body, which a fault does not have. Only the download of a file works without one.
        let is_injected = status >= 400 || (status == 200 && operation.ends_with("/artifacts/{artifact_id}/file"));
        if is_injected {
            shell.control(Method::Post, "/faults", &fault);
        }
        let count_before = response_count(shell, method, template, status);
        // Files that exist are not downloaded again.
        let _ = fs::remove_dir_all(shell.folder().join("results"));
        let result = shell.run(&arguments);
        let is_received = response_count(shell, method, template, status) > count_before;
        if is_injected {
            shell.control(Method::Delete, "/faults", &Value::Null);
        }
        (status, if is_received { result.code.unwrap() } else { NOT_SENT })
    };
    statuses.iter().copied().map(code).collect()
}

/// Returns the path of a fault that matches all paths of a template.
fn path_pattern(template: &str) -> String {
    let parts = template.split('/').map(|part| if part.starts_with('{') { "*" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Returns the number of requests to an operation that received a status.
fn response_count(shell: &Shell, method: &str, template: &str, status: u16) -> usize {
    let template = format!("/api{template}");
    let matches = |path: &str| {
        let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        template.len() == path.len()
            && template.iter().zip(&path).all(|(part, segment)| part.starts_with('{') || part == segment)
    };
    let requests = shell.requests("api", method, "/api/v1/");
    requests.iter().filter(|entry| entry["status"] == status && matches(entry["path"].as_str().unwrap())).count()
}

fn format_row(operation: &str, line: &TableRow) -> String {
    let codes: Vec<_> = line.codes.iter().map(|(status, code)| format!("{status}: {code}")).collect();
    let (command, codes) = if line.codes.is_empty() {
        ("–".to_owned(), "–".to_owned())
    } else {
        (format!("`{}`", line.command), codes.join(", "))
    };
    format!("| `{operation}` | {command} | {codes} |")
}

/// Returns the words of a command before its arguments.
fn command_name(arguments: &[String]) -> String {
    let words = arguments.iter().take_while(|word| !["tissue", "outcomes", "RUN"].contains(&word.as_str()));
    words.cloned().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_declared_status_has_the_listed_exit_code() {
    let (shell, slow) = (Shell::start(), Shell::with_config(SLOW));
    for shell in [&shell, &slow] {
        fs::write(shell.folder().join("submission.json"), SUBMISSION).unwrap();
    }
    let documented = documented_exit_codes();
    let mut differences = Vec::new();
    for (operation, statuses) in declared_statuses() {
        let arguments = command_arguments(&operation, "RUN", "TOKEN");
        let shell = if operation == "POST /v1/runs/{run_id}/cancel" { &slow } else { &shell };
        let codes = if arguments.is_empty() { BTreeMap::new() } else { exit_codes_of(shell, &operation, &statuses) };
        let line = TableRow { command: command_name(&arguments), codes };
        let is_documented =
            documented.get(&operation).is_some_and(|documented| line.codes.is_empty() || *documented == line);
        differences.extend((!is_documented).then(|| format_row(&operation, &line)));
    }
    assert!(differences.is_empty(), "docs/cli.md should have:\n{}", differences.join("\n"));
}
