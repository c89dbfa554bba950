//! Commands that continue through outages of the API, the storage and the identity provider.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::{BINARY, CommandResult};
use crate::login::UserHome;
use crate::needs;
use crate::shell::Shell;

/// The duration of an outage, similar to the outage during a deployment. A fixed number of attempts would end earlier.
const OUTAGE: Duration = Duration::from_secs(6);

/// Starts a command, and captures its output.
fn start(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn wait_for_exit(child: Child) -> CommandResult {
    CommandResult::of(&child.wait_with_output().unwrap())
}

/// Makes a server respond with 503 from now on.
fn take_down(shell: &Shell, server: &str) {
    let fault = json!({ "server": server, "effect": { "kind": "status", "status": 503 } });
    shell.control(Method::Post, "/faults", &fault);
}

fn bring_up(shell: &Shell) {
    shell.control(Method::Delete, "/faults", &Value::Null);
}

#[expect(clippy::disallowed_methods, reason = "this is the duration of the outage")]
fn outage(shell: &Shell, server: &str) {
    take_down(shell, server);
    std::thread::sleep(OUTAGE);
    bring_up(shell);
}

/// Returns the number of files in a folder and its subfolders.
fn file_count(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { file_count(&path) } else { 1 }).sum()
}

#[test]
fn api_outage_loses_no_file_of_a_download() {
    let shell = Shell::start();
    let slide =
        json!({ "name": "whole_slide_image", "download_url": "http://127.0.0.1:9/a", "metadata": { "files": 2000 } });
    let items = json!([{ "external_id": "slide", "input_artifacts": [slide] }]);
    let body = json!({ "application_id": "many-files", "items": items });
    let (status, response) = shell.api(Method::Post, "/api/v1/runs", Some(&body));
    assert_eq!(status, 201, "{response}");
    let run = response["run_id"].as_str().unwrap().to_owned();
    shell.run(&["run", "wait", &run]).assert_code(0);
    let child = start(shell.command(&["run", "download", &run, "results", "--format", "json"]));
    shell.wait_until("a file", |shell| file_count(&shell.folder().join("results")) > 50);
    outage(&shell, "api");
    let result = wait_for_exit(child);
    result.assert_code(0);
    let report: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_eq!(report["complete"], true, "{}", result.stderr);
}

#[test]
fn storage_outage_loses_no_byte_of_a_large_file() {
    let shell = Shell::start();
    let mut content = vec![0; 96 << 20];
    fastrand::Rng::with_seed(7).fill(&mut content);
    fs::write(shell.folder().join("slide.tiff"), &content).unwrap();
    shell.run(&["bucket", "upload", "slide.tiff", "--destination-prefix", "here"]).assert_code(0);
    let fault = json!({ "server": "storage", "method": "GET", "path": "*/slide.tiff", "after": 3,
        "effect": { "kind": "status", "status": 503 } });
    shell.control(Method::Post, "/faults", &fault);
    let child = start(shell.command(&["bucket", "download", "**/slide.tiff", "--destination", "there"]));
    shell.wait_until("a refusal", |shell| {
        shell.requests("storage", "GET", "/").iter().any(|request| request["status"] == 503)
    });
    outage(&shell, "storage");
    let result = wait_for_exit(child);
    result.assert_code(0);
    let file = result.stdout.split_whitespace().find(|word| word.ends_with("slide.tiff")).unwrap();
    assert!(fs::read(shell.folder().join("there").join(file)).unwrap() == content, "{}", result.stdout);
}

#[test]
fn identity_provider_outage_does_not_end_a_wait() {
    // An item takes 10 s.
    let shell = Shell::with_config("speed = 60.0");
    let run = shell.submit("outcomes", &["slide"]);
    let child = start(shell.command(&["run", "wait", &run]));
    let path = format!("/api/v1/runs/{run}");
    shell.wait_until("a request", |shell| shell.served("api", "GET", &path) > 0);
    take_down(&shell, "identity");
    shell.control(Method::Post, "/tokens", &json!({ "user": "auth0|emulator-1" }));
    shell.wait_until("a refresh", |shell| shell.served("identity", "POST", "/oauth/token") > 1);
    outage(&shell, "identity");
    let result = wait_for_exit(child);
    result.assert_code(0);
    assert!(!result.stderr.contains("log in"), "{}", result.stderr);
}

#[test]
fn unavailable_identity_provider_requires_no_login() {
    let shell = Shell::start();
    take_down(&shell, "identity");
    let error = shell.error(1, &["run", "list", "--retry-for", "1s"]);
    assert_eq!(error["kind"], "unreachable", "{error:#}");
    assert!(error["message"].as_str().unwrap().starts_with("the identity provider is unavailable"), "{error:#}");
}

#[test]
fn long_wait_and_its_end_are_reported_once() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["slide"]);
    take_down(&shell, "api");
    let start_wait = |arguments: &[&str]| {
        let mut child = start(shell.command(&[&["run", "wait", &run], arguments].concat()));
        let mut line = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut line).unwrap();
        (child, line, stderr)
    };
    let quiet = start(shell.command(&["run", "wait", &run, "--retry-for", "11s", "--quiet"]));
    let json_call = start(shell.command(&["run", "wait", &run, "--retry-for", "11s", "--format", "json"]));
    let (child, line, mut stderr) = start_wait(&[]);
    for part in ["waiting for http://", "failing since", "responded with 503", "next attempt in", "giving up at"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let quiet = wait_for_exit(quiet);
    quiet.assert_code(1);
    assert!(!quiet.stderr.contains("waiting for"), "{}", quiet.stderr);
    let json_call = wait_for_exit(json_call);
    json_call.assert_code(1);
    assert!(
        serde_json::from_str::<Value>(&json_call.stderr).is_ok(),
        "stderr is not a single JSON object: {}",
        json_call.stderr
    );
    bring_up(&shell);
    let mut text = String::new();
    stderr.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("resuming: http://") && text.lines().count() == 1, "{text}");
    wait_for_exit(child).assert_code(0);
}

#[test]
fn wait_is_an_event_of_verbose_json() {
    let shell = Shell::start();
    take_down(&shell, "api");
    let mut child = start(shell.command(&["application", "list", "--retry-for", "5m", "--format", "json", "-v"]));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let event = |line: String| serde_json::from_str::<Value>(&line).ok().filter(|line| line["event"].is_string());
    let waiting = lines.by_ref().find_map(event).unwrap();
    assert_eq!(waiting["event"], "waiting");
    assert!(waiting["host"].is_string() && waiting["cause"].as_str().unwrap().contains("503"), "{waiting}");
    assert!(waiting["since"].as_str().unwrap() < waiting["next_attempt"].as_str().unwrap(), "{waiting}");
    assert!(waiting["next_attempt"].as_str().unwrap() <= waiting["deadline"].as_str().unwrap(), "{waiting}");
    bring_up(&shell);
    let resumed = lines.by_ref().find_map(event).unwrap();
    assert_eq!(resumed["event"], "resumed");
    lines.for_each(drop);
    wait_for_exit(child).assert_code(0);
}

/// Makes the API respond with 429 and a `Retry-After` of an hour.
#[cfg(target_os = "linux")]
fn throttle(shell: &Shell) {
    let fault =
        json!({ "server": "api", "path": "/api/v1/*", "effect": { "kind": "throttle", "retry_after_seconds": 3600 } });
    shell.control(Method::Post, "/faults", &fault);
}

#[cfg(target_os = "linux")]
#[test]
fn reading_commands_retry_for_30_s_on_a_terminal() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["slide"]);
    throttle(&shell);
    for (arguments, limit) in [
        (&["application", "list"][..], 30),
        (&["run", "describe", &run], 30),
        (&["run", "cancel", &run], 300),
        (&["run", "wait", &run], 1800),
    ] {
        let command = || {
            let mut command = shell.command(arguments);
            command.env_remove("AIGNOSTICS_RETRY_FOR").env_remove("AIGNOSTICS_RETRY_FOR_TRANSFERS");
            command
        };
        let (code, printed) = Shell::run_on_terminal(command(), "");
        // The terminal can break a line between two words of the text.
        let printed = printed.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(printed.contains(&format!("only {limit} s are left")), "{arguments:?}: {printed}");
        assert_eq!(code, Some(1), "{arguments:?}");
        let result = CommandResult::of(&command().output().unwrap());
        let limit = limit.max(300);
        assert!(
            result.error_message().contains(&format!("only {limit} s are left")),
            "{arguments:?}: {}",
            result.stderr
        );
    }
}

#[test]
fn state_commands_send_each_request_once() {
    let shell = Shell::start();
    shell.run(&["user", "whoami"]).assert_code(0);
    take_down(&shell, "api");
    take_down(&shell, "identity");
    // A command with retries would wait for the whole hour.
    let retry_options = ["--retry-for", "1h"];
    for arguments in [&["auth", "doctor"][..], &["system", "health"], &["completions", "bash"]] {
        let mut before = BTreeMap::new();
        for server in ["api", "identity", "storage"] {
            before.insert(server, request_counts(&shell, server));
        }
        let options = if arguments[0] == "completions" { &[][..] } else { &retry_options };
        let result = shell.run(&[arguments, options].concat());
        if arguments[0] == "system" {
            result.assert_code(2);
        }
        let mut total = 0;
        for (server, before) in before {
            for (request, count) in request_counts(&shell, server) {
                let new_requests = count - before.get(&request).copied().unwrap_or_default();
                // The doctor needs the keys of the identity provider for two of its checks.
                let max_requests = if request.contains("jwks") { 2 } else { 1 };
                assert!(new_requests <= max_requests, "{arguments:?}: {new_requests} × {request} to {server}");
                total += new_requests;
            }
        }
        assert_eq!(total > 0, arguments[0] != "completions", "{arguments:?}: {total} requests");
    }
}

/// The command deletes the login, and reports that the provider may still accept it.
#[test]
fn logout_sends_one_request_to_a_provider_that_is_unavailable() {
    let shell = Shell::with_config("automatic_login = true\n");
    let home = UserHome::new(&shell.sandbox, &shell.running);
    let login = home.start(&["user", "login", "--no-browser"]);
    home.visit(&login.line);
    login.succeeded();
    take_down(&shell, "identity");
    let before = request_counts(&shell, "identity");
    let result = home.run(&["user", "logout", "--retry-for", "1h"]);
    result.assert_code(0);
    assert!(result.stderr.contains("503") && result.stderr.starts_with("logged out"), "{}", result.stderr);
    let after = request_counts(&shell, "identity");
    let sent = |counts: &BTreeMap<String, usize>| counts.values().sum::<usize>();
    assert_eq!(sent(&after) - sent(&before), 1, "{after:?}");
    bring_up(&shell);
    home.run(&["user", "whoami"]).assert_code(4);
}

#[cfg(target_os = "linux")]
#[test]
fn host_without_a_response_fails_after_10_s_on_a_terminal() {
    let shell = Shell::start();
    let closed_address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = shell.command(&["application", "list"]);
    command.env("AIGNOSTICS_API_ROOT", format!("http://{closed_address}"));
    command.env_remove("AIGNOSTICS_RETRY_FOR").env_remove("AIGNOSTICS_RETRY_FOR_TRANSFERS");
    let (code, printed) = Shell::run_on_terminal(command, "");
    let printed = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(printed.contains("attempts in 10 s, and the host has not responded before"), "{printed}");
    assert_eq!(code, Some(1));
}

/// The limit does not apply to root, so the command runs as a user without other processes.
#[cfg(target_os = "linux")]
#[test]
fn missing_threads_are_reported() {
    let program = tempfile::TempDir::new().unwrap();
    fs::set_permissions(program.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let binary = program.path().join("aignostics");
    fs::copy(BINARY, &binary).unwrap();
    if !needs::has("prlimit") || !needs::has("setpriv") {
        return needs::missing("prlimit and setpriv", "install util-linux");
    }
    let mut command = Command::new("prlimit");
    command.arg("--nproc=1").current_dir(program.path());
    if rustix::process::geteuid().is_root() {
        command.args(["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"]);
    }
    command.arg(&binary).args(["user", "whoami"]);
    let result = CommandResult::of(&command.env("HOME", program.path()).output().unwrap());
    result.assert_code(1);
    assert!(
        result.stderr.contains("cannot create a thread") && result.stderr.contains("ulimit -u"),
        "{}",
        result.stderr
    );
    assert!(!result.stderr.contains("panicked"), "{}", result.stderr);
}

/// Returns the number of requests to a server, by method and path.
fn request_counts(shell: &Shell, server: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in ["GET", "POST"].iter().flat_map(|method| shell.requests(server, method, "/")) {
        *counts.entry(format!("{} {}", entry["method"], entry["path"])).or_default() += 1;
    }
    counts
}

#[test]
fn zero_disables_retries() {
    let shell = Shell::start();
    take_down(&shell, "api");
    let result = shell.run(&["application", "list", "--retry-for", "0s"]);
    result.assert_code(1);
    assert_eq!(shell.served("api", "GET", "/api/v1/applications"), 1, "{}", result.stderr);
    let mut offline = shell.command(&["application", "list", "--retry-for", "0s"]);
    offline.env("AIGNOSTICS_API_ROOT", "http://127.0.0.1:9");
    CommandResult::of(&offline.output().unwrap()).assert_code(1);
}

#[test]
fn timeout_overrides_retry_for() {
    let shell = Shell::start();
    take_down(&shell, "api");
    let error = shell.error(1, &["application", "list", "--retry-for", "1h", "--timeout", "1s"]);
    assert!(["time_out", "failure", "unreachable"].contains(&error["kind"].as_str().unwrap()), "{error:#}");
}
