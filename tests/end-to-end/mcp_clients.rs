//! Third-party MCP clients that use `aignostics mcp serve`.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::command::BINARY;
use crate::packages::{installed, node, python};
use crate::shell::Shell;

/// Lists and calls tools with a client program, over stdio and over HTTP. The last arguments of the program are the
/// transport and the command or the URL of the server.
fn check(name: &str, program: &Path, arguments: &[OsString], folder: Option<&Path>) {
    let shell = Shell::start();
    shell.submit("outcomes", &["item"]);
    let serve = shell.command(&["mcp", "serve", "--http", "0"]).stdout(Stdio::piped()).spawn();
    let mut serve = serve.unwrap();
    let mut line = String::new();
    BufReader::new(serve.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let transports: [&[&str]; 2] = [&["stdio", BINARY, "mcp", "serve"], &["http", ready["url"].as_str().unwrap()]];
    for transport in transports {
        let variables = shell.command(&[]);
        let variables = variables.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        let mut client = Command::new(program);
        client.args(arguments).args(transport).env_clear().envs(variables).stdin(Stdio::null());
        client.env("TOKEN", ready["token"].as_str().unwrap()).current_dir(folder.unwrap_or(&shell.folder()));
        let output = client.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{name}, {}: {errors}", transport[0]);
        assert!(!errors.contains("unknown format"), "{name}, {}: {errors}", transport[0]);
        let mut report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let progress = report.as_object_mut().unwrap().remove("progress").unwrap();
        assert!(progress.as_u64().unwrap() >= 1, "{name}, {}: {progress}", transport[0]);
        let expected = json!({
            "tools": 11, "applications": 6, "ended": true, "refused": true, "resources": 0, "prompts": 3,
        });
        assert_eq!(report, expected, "{name}, {}", transport[0]);
    }
    serve.kill().unwrap();
    serve.wait().unwrap();
}

fn script(name: &str) -> OsString {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers").join(name).into()
}

#[test]
fn python_sdk_with_stateless_servers_lists_and_calls() {
    let Some(python) = python("mcp", include_str!("../peers/mcp/requirements.txt")) else { return };
    check("mcp 2", &python, &[script("mcp/client.py")], None);
}

#[test]
fn python_sdk_with_sessions_lists_and_calls() {
    let Some(python) = python("mcp-1", include_str!("../peers/mcp-1/requirements.txt")) else { return };
    check("mcp 1", &python, &[script("mcp/client.py")], None);
}

#[test]
fn fastmcp_lists_and_calls() {
    let Some(python) = python("fastmcp", include_str!("../peers/fastmcp/requirements.txt")) else { return };
    check("fastmcp", &python, &[script("fastmcp/client.py")], None);
}

/// Both versions of the TypeScript SDK validate the structured content of results and of errors.
#[test]
fn typescript_sdks_list_and_call() {
    let locked = include_str!("../peers/mcp-conformance/package-lock.json");
    let Some(folder) = installed("mcp-conformance", locked) else { return };
    for version in ["1", "2"] {
        let arguments = [script("mcp-conformance/client.cjs"), version.into()];
        check(&format!("TypeScript SDK {version}"), &node(&folder), &arguments, Some(&folder));
    }
}
