//! Token commands: their environment, and tokens that processes share.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use tokio::runtime::Runtime;

use crate::command::CommandResult;
use crate::emulator::{form, send};
use crate::machine::{Machine, USER};

#[test]
fn command_that_is_not_a_command_line_is_exit_code_2() {
    let machine = Machine::start();
    for line in ["'unclosed", "[1]", "[\"a\""] {
        let message = machine.failure(2, &[("AIGNOSTICS_TOKEN_COMMAND", line)], &[]);
        assert!(message.contains("token command"), "{message}");
    }
}

#[test]
fn command_inherits_no_secret_and_does_not_recurse() {
    let machine = Machine::start();
    let token = machine.token();
    let environment = machine.path("seen");
    let file = machine.write("token", &token, 0o600);
    let script = machine.script("command", &format!("env > '{}'; cat '{file}'", environment.display()));
    let variables =
        [("AIGNOSTICS_TOKEN_COMMAND", script.as_str()), ("AIGNOSTICS_SHARE_TOKEN", "canary"), ("OTHER", "kept")];
    assert_eq!(machine.user_id(&variables, &[]), USER);
    let variables = [("AIGNOSTICS_REFRESH_TOKEN", "canary-canary"), ("OTHER", "kept")];
    assert_eq!(machine.user_id(&variables, &["--token-command", &script]), USER);
    let environment = fs::read_to_string(environment).unwrap();
    assert!(
        environment.contains("OTHER=kept")
            && !environment.contains("canary")
            && !environment.contains("AIGNOSTICS_TOKEN_COMMAND="),
        "{environment}"
    );
    assert!(
        environment.contains("AIGNOSTICS_IN_TOKEN_COMMAND=1") && environment.contains("AIGNOSTICS_API_ROOT="),
        "{environment}"
    );

    let recursive_command = format!("'{}' auth token", crate::command::BINARY);
    let message = machine.failure(1, &[("AIGNOSTICS_TOKEN_COMMAND", &recursive_command)], &[]);
    assert!(message.contains("was started by a token command"), "{message}");
    let command_with_token_file = format!("'{}' auth token --token-file '{file}'", crate::command::BINARY);
    assert_eq!(machine.user_id(&[("AIGNOSTICS_TOKEN_COMMAND", &command_with_token_file)], &[]), USER);
}

/// Starts this number of concurrent processes, and waits for them.
fn run_processes(machine: &Machine, variables: &[(&str, &str)], count: usize) {
    let start = |_| {
        let mut command = machine.command(variables, &["user", "whoami", "--token-cache"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..count).map(start).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn line_count(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// Returns a parameter of the test. `cargo xtask soak credentials` sets larger values.
fn test_size(name: &str, default: usize) -> usize {
    std::env::var(format!("AIGNOSTICS_CREDENTIALS_{name}")).map_or(default, |count| count.parse().unwrap())
}

#[test]
fn processes_share_the_token_of_a_command_until_it_is_revoked() {
    let machine = Machine::start();
    let calls = machine.path("calls");
    let response = |token: &str| json!({ "access_token": token, "expires_in": 3600 }).to_string();
    let first_token = machine.token();
    let file = machine.write("response", &response(&first_token), 0o600);
    let script = machine.script("command", &format!("echo >> '{}'; cat '{file}'", calls.display()));
    let variables = [("AIGNOSTICS_TOKEN_COMMAND", script.as_str())];
    let parallel = test_size("PARALLEL", 20);
    let rounds = test_size("PROCESSES", 40) / parallel;
    for _ in 0..rounds {
        run_processes(&machine, &variables, parallel);
    }
    assert_eq!(line_count(&calls), 1);

    machine.write("response", &response(&machine.token()), 0o600);
    let client = machine.shell.running.interactive_client().to_owned();
    let revocation =
        form(machine.shell.running.url("issuer", "/oauth/revoke"), &[("client_id", &client), ("token", &first_token)]);
    assert_eq!(Runtime::new().unwrap().block_on(send(revocation)).0, 200);
    for _ in 0..rounds {
        run_processes(&machine, &variables, parallel);
    }
    assert_eq!(line_count(&calls), 2);
}

#[test]
fn tokens_of_a_command_are_separate_without_permission_to_share() {
    let machine = Machine::start();
    let (calls, token) = (machine.path("calls"), machine.token());
    let file = machine.write("opaque", &token, 0o600);
    let script = machine.script("command", &format!("echo >> '{}'; cat '{file}'", calls.display()));
    let variables = [("AIGNOSTICS_TOKEN_COMMAND", script.as_str())];
    for _ in 0..2 {
        machine.user_id(&variables, &[]);
    }
    assert_eq!(line_count(&calls), 2, "without --token-cache");
    for value in ["one", "one", "two"] {
        let names = [("AIGNOSTICS_TOKEN_CACHE", "1"), ("AIGNOSTICS_TOKEN_COMMAND_CACHE_ENV", "WHO"), ("WHO", value)];
        machine.user_id(&[&variables[..], &names].concat(), &[]);
    }
    assert_eq!(line_count(&calls), 4, "one for each value of the variable");
}

#[test]
fn caller_credential_does_not_reach_a_child_of_the_emulator() {
    let machine = Machine::start();
    let mut command = Command::new(crate::command::BINARY);
    command.args(["emulator", "exec", "--", "env"]).env("AIGNOSTICS_ACCESS_TOKEN", "canary");
    command.env("AIGNOSTICS_TOKEN_COMMAND", "canary").env("AIGNOSTICS_PROFILE", "canary");
    command.env("AIGNOSTICS_WORKLOAD_IDENTITY", "canary").env("AIGNOSTICS_CLIENT_SECRET_FILE", "canary");
    command.env("AIGNOSTICS_SHARE_TOKEN", "canary").env("AIGNOSTICS_LOGFIRE_TOKEN", "canary");
    let result = CommandResult::of(&command.env("TMPDIR", machine.shell.sandbox.temporary()).output().unwrap());
    result.assert_code(0);
    assert!(!result.stdout.contains("canary") && !result.stderr.contains("canary"), "{}", result.stdout);
    assert!(result.stdout.contains("AIGNOSTICS_REFRESH_TOKEN="), "{}", result.stdout);
    let mut demo = machine.shell.sandbox.demo(&[]);
    demo.env("AIGNOSTICS_ACCESS_TOKEN", "canary").env("AIGNOSTICS_PROFILE", "canary");
    let demo = CommandResult::of(&demo.output().unwrap());
    demo.assert_code(0);
    assert!(!demo.stderr.contains("canary"), "{}", demo.stderr);
}
