//! `aignostics emulator`: its output, its commands, its cleanup, and its stored data.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use auth_http::{HttpClient, Method, Request};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::command::{BINARY, Sandbox};

/// An emulator in a separate process, which is killed when the value is dropped.
pub(crate) struct RunningEmulator {
    pub(crate) child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) ready: Value,
}

impl RunningEmulator {
    pub(crate) fn start(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        let mut command = command(sandbox, arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        Self { child, stdout, ready: serde_json::from_str(&line).unwrap() }
    }

    pub(crate) fn url(&self, server: &str, path: &str) -> Url {
        self.ready[server].as_str().unwrap().parse::<Url>().unwrap().join(path).unwrap()
    }

    pub(crate) fn interactive_client(&self) -> &str {
        self.ready["client_ids"]["interactive"].as_str().unwrap()
    }

    fn signal(&mut self, signal: &str) -> Option<i32> {
        let sent = Command::new("kill").args([format!("-{signal}"), self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for RunningEmulator {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("emulator").args(arguments).env("TMPDIR", sandbox.temporary()).env_remove("AIGNOSTICS_API_ROOT");
    command
}

pub(crate) fn http() -> HttpClient {
    HttpClient::builder().with_plain_loopback().build().unwrap()
}

/// Sends a request, and returns status and body.
pub(crate) async fn send(request: Request) -> (u16, Value) {
    let response = http().send(request).await.unwrap();
    let status = response.status();
    (status, serde_json::from_slice(&response.bytes(1 << 20).await.unwrap()).unwrap_or_default())
}

pub(crate) fn form(url: Url, fields: &[(&str, &str)]) -> Request {
    let body = Serializer::new(String::new()).extend_pairs(fields).finish();
    Request::new(Method::Post, url).with_body("application/x-www-form-urlencoded", body)
}

/// Returns an access token for the refresh token in the variables.
pub(crate) async fn token(running: &RunningEmulator) -> String {
    let refresh_token = running.ready["env"]["AIGNOSTICS_REFRESH_TOKEN"].as_str().unwrap();
    let (status, response) = send(refresh(running, refresh_token)).await;
    assert_eq!(status, 200, "{response}");
    response["access_token"].as_str().unwrap().to_owned()
}

pub(crate) fn refresh(running: &RunningEmulator, refresh_token: &str) -> Request {
    let client = running.interactive_client();
    let fields = [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", refresh_token)];
    form(running.url("issuer", "/oauth/token"), &fields)
}

/// Returns the requests that the emulator received.
pub(crate) async fn journal(running: &RunningEmulator) -> Vec<Value> {
    let control = &running.ready["control"];
    let url = format!("{}/journal", control["url"].as_str().unwrap()).parse().unwrap();
    let bearer = format!("Bearer {}", control["token"].as_str().unwrap());
    let response = http().send(Request::get(url).with_header("authorization", bearer)).await.unwrap();
    assert_eq!(response.status(), 200);
    serde_json::from_slice(&response.bytes(1 << 30).await.unwrap()).unwrap()
}

pub(crate) fn submission() -> Value {
    json!({ "application_id": "outcomes", "items": [
        { "external_id": "a", "input_artifacts": [{ "name": "whole_slide_image", "download_url": "http://127.0.0.1:9/a", "metadata": {} }] },
    ] })
}

pub(crate) fn authorized(running: &RunningEmulator, token: &str, method: Method, path: &str) -> Request {
    Request::new(method, running.url("api_root", path)).with_header("authorization", format!("Bearer {token}"))
}

/// Submits a run, and returns its id, or the status of the refusal.
pub(crate) async fn submit(running: &RunningEmulator, token: &str) -> Result<String, u16> {
    let request = authorized(running, token, Method::Post, "/api/v1/runs");
    let (status, body) = send(request.with_body("application/json", submission().to_string())).await;
    if status == 201 { Ok(body["run_id"].as_str().unwrap().to_owned()) } else { Err(status) }
}

/// Submits runs until the quota is exhausted. For each run, tries an operation that is not allowed before the run ends.
pub(crate) async fn exhaust_quota(running: &RunningEmulator, token: &str) {
    loop {
        match submit(running, token).await {
            Ok(run) => {
                let path = format!("/api/v1/runs/{run}/artifacts");
                assert_eq!(send(authorized(running, token, Method::Delete, &path)).await.0, 409);
            }
            Err(status) => return assert_eq!(status, 402),
        }
    }
}

#[test]
fn ready_line_has_all_client_data() {
    let sandbox = Sandbox::new();
    let mut running = RunningEmulator::start(&sandbox, &["--control"]);
    let runtime = Runtime::new().unwrap();
    let (token, health) = runtime.block_on(async {
        let tokens = (token(&running).await, token(&running).await);
        assert_ne!(tokens.0, tokens.1, "the variable can be used again");
        (tokens.1, send(Request::get(running.url("api_root", "/health"))).await)
    });
    assert_eq!(health, (200, json!({ "status": "UP" })));
    let me =
        Request::get(running.url("api_root", "/api/v1/me")).with_header("authorization", format!("Bearer {token}"));
    let (status, me) = runtime.block_on(send(me));
    assert_eq!((status, &me["user"]["id"]), (200, &running.ready["users"][0]["id"]));
    assert!(runtime.block_on(journal(&running)).len() > 2);

    assert_eq!(running.signal("TERM"), Some(143));
    let mut rest = String::new();
    running.stdout.read_line(&mut rest).unwrap();
    assert_eq!(rest, "", "only one line is printed");
    sandbox.assert_no_leftovers();
}

#[test]
fn print_env_prints_variables_instead_of_json() {
    let sandbox = Sandbox::new();
    let mut child = command(&sandbox, &["--print-env"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines: Vec<_> = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        lines
            .iter()
            .all(|line| line.split_once('=').is_some_and(|(name, value)| !name.is_empty() && !value.is_empty()))
    );
    assert!(lines.iter().any(|line| line.starts_with("AIGNOSTICS_API_ROOT=http://127.0.0.1:")), "{lines:?}");
}

#[test]
fn exec_runs_a_command_and_returns_its_exit_code() {
    let sandbox = Sandbox::new();
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)] {
        let result = command(&sandbox, &["--quiet", "exec", "--", "sh", "-c", script]).output().unwrap();
        assert_eq!((result.status.code(), result.stderr.as_slice()), (Some(code), &b""[..]), "{script}");
    }
    let script = "echo \"$AIGNOSTICS_API_ROOT $1\"; test -n \"$AIGNOSTICS_REFRESH_TOKEN\" && touch \"$AIGNOSTICS_CACHE_DIR/token\"";
    let result =
        command(&sandbox, &["exec", "--seed", "7", "--", "sh", "-c", script, "sh", "--port"]).output().unwrap();
    let printed = String::from_utf8(result.stdout).unwrap();
    assert!(
        result.status.success() && printed.starts_with("http://127.0.0.1:") && printed.ends_with(" --port\n"),
        "{printed}"
    );
    let missing_program = command(&sandbox, &["exec", "--", "no-such-command"]).output().unwrap();
    assert_eq!(missing_program.status.code(), Some(127));
    assert!(String::from_utf8(missing_program.stderr).unwrap().contains("cannot run 'no-such-command'"));
    sandbox.assert_no_leftovers();
}

#[test]
fn exec_names_the_emulator_before_the_command_runs() {
    let sandbox = Sandbox::new();
    let run = |options: &[&str]| {
        let mut exec = command(&sandbox, options);
        exec.args(["exec", "--", "sh", "-c", "echo $AIGNOSTICS_API_ROOT; echo from the command >&2"]);
        let result = exec.output().unwrap();
        assert!(result.status.success());
        [result.stdout, result.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let [root, stderr] = run(&[]);
    let banner = format!("emulator: runs at {}/, user ada@emulator.test; nothing is billed\n", root.trim_end());
    assert_eq!(stderr, banner + "from the command\n");
    for silent in ["--quiet", "--format=json"] {
        assert_eq!(run(&[silent])[1], "from the command\n", "{silent}");
    }
}

#[test]
fn stopped_emulator_stops_its_command() {
    let sandbox = Sandbox::new();
    let script = "echo started; exec sleep 600";
    let mut child = command(&sandbox, &["exec", "--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap());
    printed.read_line(&mut String::new()).unwrap();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    // The output ends when the command exits.
    assert_eq!(printed.read_line(&mut String::new()).unwrap(), 0);
    sandbox.assert_no_leftovers();
}

#[test]
#[cfg(unix)]
fn command_receives_the_signal_and_can_clean_up() {
    let sandbox = Sandbox::new();
    for (signal, number) in [("TERM", 15), ("INT", 2), ("HUP", 1)] {
        // A shell starts background jobs with SIGINT ignored, so the trap must kill the job.
        let script =
            format!("sleep 600 & trap 'kill $! 2>/dev/null; echo cleaned up; exit 5' {signal}; echo started; wait");
        let mut exec_command = command(&sandbox, &["exec", "--", "sh", "-c", &script]);
        let mut child = exec_command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut printed = BufReader::new(child.stdout.take().unwrap());
        printed.read_line(&mut String::new()).unwrap();
        assert!(
            Command::new("kill").args([&format!("-{number}"), &child.id().to_string()]).status().unwrap().success()
        );
        assert_eq!(child.wait().unwrap().code(), Some(5), "{signal}");
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut printed, &mut rest).unwrap();
        assert_eq!(rest, "cleaned up\n", "{signal}");
    }
    sandbox.assert_no_leftovers();
}

#[test]
#[cfg(unix)]
fn child_processes_are_stopped_and_finally_killed() {
    let sandbox = Sandbox::new();
    // The output ends when the last process exits.
    let mut exec_command =
        command(&sandbox, &["exec", "--", "sh", "-c", "trap '' TERM; echo started; sleep 600; sleep 600"]);
    let mut child = exec_command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap());
    printed.read_line(&mut String::new()).unwrap();
    let id = child.id().to_string();
    let stop = || Command::new("kill").args(["-TERM", &id]).status().unwrap().success();
    while child.try_wait().unwrap().is_none() {
        assert!(stop());
    }
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(printed.read_line(&mut String::new()).unwrap(), 0);
    sandbox.assert_no_leftovers();
}

#[test]
fn unusable_arguments_are_named() {
    let sandbox = Sandbox::new();
    let config = sandbox.path("config.toml");
    std::fs::write(&config, "speeed = 1").unwrap();
    let config = config.to_str().unwrap();
    for (arguments, code, reason) in [
        (vec!["--config", config], 2, "speeed"),
        (vec!["--config", "/nowhere.toml"], 2, "cannot read '/nowhere.toml'"),
        (vec!["--issuer", "https://issuer.test/"], 2, "[external_issuer]"),
        (vec!["--speed", "nan"], 2, "speed"),
        (vec!["--data-dir", "/proc/nowhere"], 1, "cannot create '/proc/nowhere'"),
        (vec!["--host", "a b"], 2, "is not valid in a URL"),
        (vec!["--port", "65535"], 2, "65535"),
        (vec!["--fault", r#"{"effect": {"kind": "outage"}}"#], 2, "unknown variant `outage`"),
        (vec!["--tls", "/nowhere/authority.pem"], 1, "/nowhere/authority.pem"),
        (vec!["--print-env", "exec", "--", "true"], 2, "--print-env"),
    ] {
        let result = command(&sandbox, &arguments).stdout(Stdio::null()).output().unwrap();
        let printed = String::from_utf8(result.stderr).unwrap();
        assert!(result.status.code() == Some(code) && printed.contains(reason), "{arguments:?}: {printed}");
    }
}
