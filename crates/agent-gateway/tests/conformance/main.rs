//! The conformance scenarios of MCP for clients (npm `@modelcontextprotocol/conformance`). The client is the example
//! `conformance`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../../../tests/support/needs.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod needs;
#[path = "../../../../tests/support/packages.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod packages;

use std::process::Command;

const PACKAGE_LOCK: &str = include_str!("../../../../tests/peers/mcp-conformance/package-lock.json");
/// The scenarios that pass without failed checks.
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
/// The authorization scenarios that pass with every lifecycle.
const AUTHORIZATION_SCENARIOS: [&str; 14] = [
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
/// The authorization scenarios that exist only for MCP 2026-07-28. They pass.
const NEW_AUTHORIZATION_SCENARIOS: [&str; 11] = [
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
/// The scenarios with failed checks: the name, the number of failed checks, and the reason.
const EXCEPTIONS: [(&str, usize, &str); 2] = [
    ("http-custom-headers", 1, "the client validates arguments and does not send null for a boolean"),
    ("sep-2322-client-request-state", 3, "the client does not support requests for user input"),
];

/// Runs a scenario. Returns the number of failed checks and the output, or `None` if the scenarios are not installed.
fn failed_checks(scenario: &str, version: Option<&str>) -> Option<(usize, String)> {
    let folder = packages::installed("mcp-conformance", PACKAGE_LOCK)?;
    let example = std::env::current_exe().unwrap();
    let example = example.parent().unwrap().parent().unwrap().join("examples/conformance");
    assert!(example.exists(), "{} does not exist; it is built with the tests", example.display());
    let mut command = Command::new(packages::node(&folder));
    command.arg(folder.join("node_modules/@modelcontextprotocol/conformance/dist/index.js"));
    command.args(["client", "--scenario", scenario, "--command", example.to_str().unwrap()]);
    command.args(version.iter().flat_map(|version| ["--spec-version", version]));
    // Some scenarios write files to the current directory.
    let results = tempfile::tempdir().unwrap();
    command.current_dir(results.path());
    let process = command.output().unwrap();
    let output = format!("{}{}", String::from_utf8_lossy(&process.stdout), String::from_utf8_lossy(&process.stderr));
    let summary =
        output.lines().find(|line| line.starts_with("Passed: ")).unwrap_or_else(|| panic!("{scenario}: {output}"));
    let failure_count = summary.split(", ").find_map(|part| part.strip_suffix(" failed")).unwrap().parse().unwrap();
    Some((failure_count, output))
}

#[test]
fn client_scenarios_pass() {
    for scenario in SCENARIOS {
        let Some((failure_count, output)) = failed_checks(scenario, None) else { return };
        assert_eq!(failure_count, 0, "{scenario}: {output}");
    }
}

#[test]
fn authorization_scenarios_pass_over_every_lifecycle() {
    for version in ["2025-11-25", "2026-07-28"] {
        let new_scenarios = NEW_AUTHORIZATION_SCENARIOS.iter().filter(|_| version == "2026-07-28");
        for scenario in AUTHORIZATION_SCENARIOS.iter().chain(new_scenarios) {
            let scenario = format!("auth/{scenario}");
            let Some((failure_count, output)) = failed_checks(&scenario, Some(version)) else { return };
            assert_eq!(failure_count, 0, "{scenario}: {output}");
        }
    }
}

#[test]
fn scenarios_with_exceptions_fail_the_expected_checks() {
    for (scenario, expected, reason) in EXCEPTIONS {
        let Some((failure_count, output)) = failed_checks(scenario, None) else { return };
        assert_eq!(failure_count, expected, "{scenario} ({reason}): {output}");
    }
}
