//! `aignostics emulator`: what it says, what it runs, what it leaves, and what survives it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use auth_http::{HttpClient, Method, Request};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::command::{BINARY, Lab};

/// An emulator in a process of its own; it is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    said: BufReader<ChildStdout>,
    pub(crate) ready: Value,
}

impl Running {
    pub(crate) fn start(lab: &Lab, arguments: &[&str]) -> Self {
        let mut command = command(lab, arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        Self { child, said, ready: serde_json::from_str(&line).unwrap() }
    }

    pub(crate) fn url(&self, server: &str, path: &str) -> url::Url {
        self.ready[server].as_str().unwrap().parse::<url::Url>().unwrap().join(path).unwrap()
    }

    fn signal(&mut self, signal: &str) -> Option<i32> {
        let sent = Command::new("kill").args([format!("-{signal}"), self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(lab: &Lab, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("emulator").args(arguments).env("TMPDIR", lab.temporary()).env_remove("AIGNOSTICS_API_ROOT");
    command
}

pub(crate) fn http() -> HttpClient {
    HttpClient::builder().with_plain_loopback().build().unwrap()
}

/// Sends a request, and gives status and body.
pub(crate) async fn send(request: Request) -> (u16, Value) {
    let response = http().send(request).await.unwrap();
    let status = response.status();
    (status, serde_json::from_slice(&response.bytes(1 << 20).await.unwrap()).unwrap_or_default())
}

/// An access token for the refresh token among the variables.
pub(crate) async fn token(running: &Running) -> String {
    let variables = &running.ready["env"];
    let text = |name: &str| variables[name].as_str().unwrap().to_owned();
    let form = [
        ("grant_type", "refresh_token".to_owned()),
        ("client_id", text("AIGNOSTICS_CLIENT_ID_INTERACTIVE")),
        ("refresh_token", text("AIGNOSTICS_REFRESH_TOKEN")),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let url = text("AIGNOSTICS_TOKEN_URL").parse().unwrap();
    let request = Request::new(Method::Post, url).with_body("application/x-www-form-urlencoded", body);
    let (status, answer) = send(request).await;
    assert_eq!(status, 200, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

/// What was asked of the emulator.
pub(crate) async fn journal(running: &Running) -> Vec<Value> {
    let control = &running.ready["control"];
    let url = format!("{}/journal", control["url"].as_str().unwrap()).parse().unwrap();
    let bearer = format!("Bearer {}", control["token"].as_str().unwrap());
    let response = http().send(Request::get(url).with_header("authorization", bearer)).await.unwrap();
    assert_eq!(response.status(), 200);
    serde_json::from_slice(&response.bytes(1 << 30).await.unwrap()).unwrap()
}

fn submission() -> Value {
    json!({ "application_id": "outcomes", "items": [
        { "external_id": "a", "input_artifacts": [{ "name": "whole_slide_image", "download_url": "http://127.0.0.1:9/a", "metadata": {} }] },
    ] })
}

fn authorized(running: &Running, token: &str, method: Method, path: &str) -> Request {
    Request::new(method, running.url("api_root", path)).with_header("authorization", format!("Bearer {token}"))
}

/// Submits a run, and gives its id, or the status of the refusal.
pub(crate) async fn submit(running: &Running, token: &str) -> Result<String, u16> {
    let request = authorized(running, token, Method::Post, "/api/v1/runs");
    let (status, body) = send(request.with_body("application/json", submission().to_string())).await;
    if status == 201 { Ok(body["run_id"].as_str().unwrap().to_owned()) } else { Err(status) }
}

/// Submits until there is no quota left, and asks for what a run that goes on does not allow.
pub(crate) async fn meet_quota(running: &Running, token: &str) {
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
fn it_says_in_one_line_all_that_a_client_needs() {
    let lab = Lab::new();
    let mut running = Running::start(&lab, &["--control"]);
    let runtime = Runtime::new().unwrap();
    let (token, health) = runtime.block_on(async {
        let again = (token(&running).await, token(&running).await);
        assert_ne!(again.0, again.1, "the variable can be used again");
        (again.1, send(Request::get(running.url("api_root", "/health"))).await)
    });
    assert_eq!(health, (200, json!({ "status": "UP" })));
    let me =
        Request::get(running.url("api_root", "/api/v1/me")).with_header("authorization", format!("Bearer {token}"));
    let (status, me) = runtime.block_on(send(me));
    assert_eq!((status, &me["user"]["id"]), (200, &running.ready["users"][0]["id"]));
    assert!(runtime.block_on(journal(&running)).len() > 2);

    assert_eq!(running.signal("TERM"), Some(143));
    let mut rest = String::new();
    running.said.read_line(&mut rest).unwrap();
    assert_eq!(rest, "", "nothing but the one line");
    lab.assert_nothing_is_left();
}

#[test]
fn it_prints_the_variables_instead() {
    let lab = Lab::new();
    let mut child = command(&lab, &["--print-env"]).stdout(Stdio::piped()).spawn().unwrap();
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
fn a_command_runs_in_it_and_its_exit_code_is_passed_on() {
    let lab = Lab::new();
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)] {
        let ended = command(&lab, &["exec", "--", "sh", "-c", script]).output().unwrap();
        assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(code), &b""[..]), "{script}");
    }
    let script = "echo \"$AIGNOSTICS_API_ROOT $1\"; test -n \"$AIGNOSTICS_REFRESH_TOKEN\" && touch \"$AIGNOSTICS_CACHE_DIR/token\"";
    let ended = command(&lab, &["exec", "--seed", "7", "--", "sh", "-c", script, "sh", "--port"]).output().unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success() && said.starts_with("http://127.0.0.1:") && said.ends_with(" --port\n"), "{said}");
    let absent = command(&lab, &["exec", "--", "no-such-command"]).output().unwrap();
    assert_eq!(absent.status.code(), Some(127));
    assert!(String::from_utf8(absent.stderr).unwrap().contains("no-such-command cannot be run"));
    lab.assert_nothing_is_left();
}

#[test]
fn a_stopped_emulator_stops_its_command() {
    let lab = Lab::new();
    let script = "echo started; exec sleep 600";
    let mut child = command(&lab, &["exec", "--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    said.read_line(&mut String::new()).unwrap();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    // Its output ends when the command does.
    assert_eq!(said.read_line(&mut String::new()).unwrap(), 0);
    lab.assert_nothing_is_left();
}

#[test]
fn what_cannot_be_used_is_named() {
    let lab = Lab::new();
    let config = lab.path("config.toml");
    std::fs::write(&config, "speeed = 1").unwrap();
    let config = config.to_str().unwrap();
    for (arguments, code, reason) in [
        (vec!["--config", config], 2, "speeed"),
        (vec!["--config", "/nowhere.toml"], 2, "/nowhere.toml cannot be read"),
        (vec!["--issuer", "https://issuer.test/"], 2, "[external_issuer]"),
        (vec!["--speed", "nan"], 2, "speed"),
        (vec!["--data-dir", "/proc/nowhere"], 1, "/proc/nowhere cannot be created"),
        (vec!["--host", "a b"], 2, "cannot be in a URL"),
    ] {
        let ended = command(&lab, &arguments).stdout(Stdio::null()).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.code() == Some(code) && said.contains(reason), "{arguments:?}: {said}");
    }
}

/// Submits runs and uploads objects until the emulator is gone, and gives the paths of those that were acknowledged.
async fn write_until_it_ends(running: &Running) -> Vec<String> {
    let bearer = format!("Bearer {}", token(running).await);
    let client = http();
    let mut acknowledged = Vec::new();
    loop {
        let request = Request::new(Method::Post, running.url("api_root", "/api/v1/runs"))
            .with_header("authorization", bearer.as_str())
            .with_body("application/json", submission().to_string());
        let Ok(response) = client.send(request).await else { return acknowledged };
        assert_eq!(response.status(), 201);
        let Ok(body) = response.bytes(1 << 20).await else { return acknowledged };
        let body: Value = serde_json::from_slice(&body).unwrap();
        acknowledged.push(format!("/api/v1/runs/{}", body["run_id"].as_str().unwrap()));
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    let lab = Lab::new();
    let data = lab.path("data");
    let data = data.to_str().unwrap();
    let runtime = Runtime::new().unwrap();
    let mut acknowledged = Vec::new();
    for milliseconds in [40, 90, 170, 260] {
        let mut running = Running::start(&lab, &["--data-dir", data]);
        runtime.block_on(assert_all_are_there(&running, &acknowledged));
        let id = running.child.id().to_string();
        let killer = std::thread::spawn(move || {
            // A moment of no meaning.
            let moment = Command::new("sleep").arg(format!("0.{milliseconds:03}")).status().unwrap();
            moment.success() && Command::new("kill").args(["-KILL", &id]).status().unwrap().success()
        });
        acknowledged.extend(runtime.block_on(write_until_it_ends(&running)));
        assert!(killer.join().unwrap());
        assert_eq!(running.child.wait().unwrap().code(), None, "killed");
    }
    assert!(acknowledged.len() > 4, "{acknowledged:?}");
    runtime.block_on(assert_all_are_there(&Running::start(&lab, &["--data-dir", data]), &acknowledged));
    assert!(Path::new(data).join("state.redb").exists());
}

async fn assert_all_are_there(running: &Running, paths: &[String]) {
    let bearer = format!("Bearer {}", token(running).await);
    for path in paths {
        let request = Request::get(running.url("api_root", path)).with_header("authorization", bearer.as_str());
        assert_eq!(send(request).await.0, 200, "{path}");
    }
}
