//! The conformance scenarios of MCP for clients (npm `@modelcontextprotocol/conformance`), with the example `conformance`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../../../tests/support/needs.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod needs;
#[path = "../../../../tests/support/packages.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod packages;

use std::process::Command;

const LOCKED: &str = include_str!("../../../../tests/peers/mcp-conformance/package-lock.json");
/// The scenarios that pass.
const SCENARIOS: [&str; 8] = [
    "initialize",
    "tools_call",
    "sse-retry",
    "request-metadata",
    "http-standard-headers",
    "http-invalid-tool-headers",
    "json-schema-ref-no-deref",
    "json-schema-2020-12-preservation",
];
/// The scenarios of authorization that pass over every lifecycle.
const AUTHORIZATION: [&str; 14] = [
    "metadata-default",
    "metadata-var1",
    "metadata-var2",
    "metadata-var3",
    "basic-cimd",
    "scope-from-www-authenticate",
    "scope-from-scopes-supported",
    "scope-omitted-when-undefined",
    "scope-step-up",
    "scope-retry-limit",
    "token-endpoint-auth-basic",
    "token-endpoint-auth-post",
    "token-endpoint-auth-none",
    "pre-registration",
];
/// Those that pass, and that are about MCP 2026-07-28 only.
const NEWER_AUTHORIZATION: [&str; 11] = [
    "resource-mismatch",
    "offline-access-scope",
    "offline-access-not-supported",
    "authorization-server-migration",
    "iss-supported",
    "iss-not-advertised",
    "iss-supported-missing",
    "iss-wrong-issuer",
    "iss-unexpected",
    "iss-normalized",
    "metadata-issuer-mismatch",
];
/// The scenarios that fail in some check, the number of failed checks, and the reason.
const EXCEPTIONS: [(&str, usize, &str); 2] = [
    ("http-custom-headers", 1, "a null for a boolean is refused before it is sent: arguments are validated"),
    ("sep-2322-client-request-state", 3, "input of the user is not offered to servers"),
];

/// Runs a scenario. Returns the number of failed checks, and the output.
fn failed(scenario: &str, version: Option<&str>) -> Option<(usize, String)> {
    let folder = packages::installed("mcp-conformance", LOCKED)?;
    let example = std::env::current_exe().unwrap();
    let example = example.parent().unwrap().parent().unwrap().join("examples/conformance");
    assert!(example.exists(), "{} is built with the tests", example.display());
    let mut command = Command::new(packages::node(&folder));
    command.arg(folder.join("node_modules/@modelcontextprotocol/conformance/dist/index.js"));
    command.args(["client", "--scenario", scenario, "--command", example.to_str().unwrap()]);
    command.args(version.iter().flat_map(|version| ["--spec-version", version]));
    // Some scenarios write their results.
    let results = tempfile::tempdir().unwrap();
    command.current_dir(results.path());
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let line = text.lines().find(|line| line.starts_with("Passed: ")).unwrap_or_else(|| panic!("{scenario}: {text}"));
    let failed = line.split(", ").find_map(|part| part.strip_suffix(" failed")).unwrap().parse().unwrap();
    Some((failed, text))
}

#[test]
fn client_scenarios_pass() {
    for scenario in SCENARIOS {
        let Some((failed, text)) = failed(scenario, None) else { return };
        assert_eq!(failed, 0, "{scenario}: {text}");
    }
}

#[test]
fn authorization_scenarios_pass_over_every_lifecycle() {
    for version in ["2025-11-25", "2026-07-28"] {
        let newer = NEWER_AUTHORIZATION.iter().filter(|_| version == "2026-07-28");
        for scenario in AUTHORIZATION.iter().chain(newer) {
            let scenario = format!("auth/{scenario}");
            let Some((failed, text)) = failed(&scenario, Some(version)) else { return };
            assert_eq!(failed, 0, "{scenario}: {text}");
        }
    }
}

#[test]
fn client_scenarios_with_exceptions_fail_only_there() {
    for (scenario, expected, reason) in EXCEPTIONS {
        let Some((failed, text)) = failed(scenario, None) else { return };
        assert_eq!(failed, expected, "{scenario} ({reason}): {text}");
    }
}
