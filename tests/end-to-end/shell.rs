//! A user at a shell with a separate emulator: runs commands and checks their output.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use auth_http::{Method, Request};
use regex::Regex;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::command::{BINARY, CommandResult, Sandbox};
use crate::emulator::{RunningEmulator, authorized, form, http, journal, send, token};

/// Patterns for text that differs between calls, and their replacements in snapshots.
const REDACTIONS: [(&str, &str); 6] = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[id]"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", "[time]"),
    (r"\b(in )?\d+ (s|min|h|d)( ago)?\b", "[when]"),
    (r"/[0-9a-f]{16}/", "/[hash]/"),
    (r"127\.0\.0\.1:\d+", "[address]"),
    (r#""seconds": [0-9.]+"#, r#""seconds": [seconds]"#),
];

pub(crate) struct Shell {
    pub(crate) sandbox: Sandbox,
    pub(crate) running: RunningEmulator,
    runtime: Runtime,
}

impl Shell {
    pub(crate) fn start() -> Self {
        Self::with_arguments(&[])
    }

    /// Starts with additional arguments for the emulator.
    pub(crate) fn with_arguments(arguments: &[&str]) -> Self {
        Self::of(Sandbox::new(), arguments)
    }

    /// Starts with this configuration (TOML) of the emulator.
    pub(crate) fn with_config(text: &str) -> Self {
        let sandbox = Sandbox::new();
        let path = sandbox.path("config.toml");
        fs::write(&path, text).unwrap();
        Self::of(sandbox, &["--config", path.to_str().unwrap()])
    }

    fn of(sandbox: Sandbox, arguments: &[&str]) -> Self {
        fs::create_dir_all(sandbox.path("home")).unwrap();
        let running = RunningEmulator::start(&sandbox, &[&["--control"], arguments].concat());
        Self { sandbox, running, runtime: Runtime::new().unwrap() }
    }

    /// Returns the folder that commands run in.
    pub(crate) fn folder(&self) -> PathBuf {
        self.sandbox.path("home")
    }

    /// Returns a command of the logged-in user.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).env_clear().env("HOME", self.folder()).env("TMPDIR", self.sandbox.temporary());
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        let variables = self.running.ready["env"].as_object().unwrap();
        command.envs(variables.iter().map(|(name, value)| (name, value.as_str().unwrap())));
        // With these limits, tests with permanent failures end quickly.
        command.env("USER", "user").env("AIGNOSTICS_RETRY_FOR", "2").env("AIGNOSTICS_RETRY_FOR_TRANSFERS", "30");
        command.current_dir(self.folder()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> CommandResult {
        CommandResult::of(&self.command(arguments).output().unwrap())
    }

    /// Runs a command at a terminal with this input, and returns its exit code and its output on the terminal.
    #[cfg(target_os = "linux")]
    pub(crate) fn on_terminal(&self, arguments: &[&str], input: &str) -> (Option<i32>, String) {
        Self::run_on_terminal(self.command(arguments), input)
    }

    /// Runs a command at a terminal, and returns its exit code and its stderr.
    #[cfg(target_os = "linux")]
    pub(crate) fn run_on_terminal(command: Command, input: &str) -> (Option<i32>, String) {
        Self::run_at(command, input, false)
    }

    /// Runs a command at a terminal with 80 columns, and returns the lines that it shows, without colors.
    #[cfg(target_os = "linux")]
    pub(crate) fn lines_on_terminal(&self, arguments: &[&str]) -> Vec<String> {
        let (code, output) = Self::run_at(self.command(arguments), "", true);
        assert_eq!(code, Some(0), "{output}");
        let sequences = regex::Regex::new(r"\x1b\[[0-9;?]*[A-Za-z]").unwrap();
        let plain = sequences.replace_all(&output, "");
        plain.split(['\r', '\n']).filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
    }

    /// Runs a command at a terminal with 80 columns, and returns its exit code and what it shows.
    #[cfg(target_os = "linux")]
    fn run_at(mut command: Command, input: &str, shows_stdout: bool) -> (Option<i32>, String) {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        use std::fs::File;
        use std::io::{Read, Write};

        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&user).unwrap();
        unlockpt(&user).unwrap();
        let name = ptsname(&user, Vec::new()).unwrap().into_string().unwrap();
        let terminal = File::options().read(true).write(true).open(name).unwrap();
        let size = rustix::termios::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&terminal, size).unwrap();
        command.env("TERM", "xterm").stdout(std::process::Stdio::null());
        if shows_stdout {
            command.stdout(terminal.try_clone().unwrap());
        }
        command.stdin(terminal.try_clone().unwrap()).stderr(terminal);
        let mut child = command.spawn().unwrap();
        drop(command);
        let mut user = File::from(user);
        user.write_all(input.as_bytes()).unwrap();
        let mut printed = Vec::new();
        // The end of the output is an error, because the terminal is closed.
        let _ = user.read_to_end(&mut printed);
        (child.wait().unwrap().code(), String::from_utf8(printed).unwrap())
    }

    /// Runs a command with JSON output. It must succeed, print nothing to stderr, and conform to the published schema
    /// with this name.
    pub(crate) fn json(&self, schema: &str, arguments: &[&str]) -> Value {
        let result = self.run(&[arguments, &["--format", "json", "--quiet"]].concat());
        result.assert_code(0);
        assert_eq!(result.stderr, "", "{arguments:?}");
        let value = serde_json::from_str(&result.stdout).unwrap();
        assert_conforms(schema, &value);
        value
    }

    /// Returns the error object of a failing command with JSON output. stdout must be empty.
    pub(crate) fn error(&self, code: i32, arguments: &[&str]) -> Value {
        let result = self.run(&[arguments, &["--format", "json", "--quiet"]].concat());
        result.assert_code(code);
        assert_eq!(result.stdout, "", "{arguments:?}");
        let error = serde_json::from_str(&result.stderr).unwrap();
        assert_conforms("error", &error);
        assert_eq!(error["error"]["exit_code"], code);
        error["error"].clone()
    }

    /// Returns the output and the exit code of a command for a snapshot, without text that differs between calls.
    pub(crate) fn transcript(&self, arguments: &[&str]) -> String {
        let CommandResult { code, stdout, stderr } = self.run(arguments);
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        let text = format!("$ aignostics {}\n{stdout}--- stderr\n{stderr}--- exit code {code}\n", arguments.join(" "));
        self.redacted(&text)
    }

    /// Returns the transcript with normalized column widths, which depend on the name of the folder.
    pub(crate) fn transcript_of_table(&self, arguments: &[&str]) -> String {
        Regex::new(" {2,}").unwrap().replace_all(&self.transcript(arguments), "  ").into_owned()
    }

    pub(crate) fn redacted(&self, text: &str) -> String {
        let folder = self.sandbox.path("");
        let text = text.replace(folder.to_str().unwrap().trim_end_matches('/'), "[folder]");
        REDACTIONS
            .iter()
            .fold(text, |text, (pattern, name)| Regex::new(pattern).unwrap().replace_all(&text, *name).into_owned())
    }

    /// Sends a request to the API as the user, and returns the status and the body.
    pub(crate) fn api(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.runtime.block_on(async {
            let token = token(&self.running).await;
            let request = authorized(&self.running, &token, method, path);
            send(body.iter().fold(request, |request, body| request.with_body("application/json", body.to_string())))
                .await
        })
    }

    /// Returns a refresh token of another user, who approves a device login.
    pub(crate) fn refresh_token(&self, user: &str) -> String {
        let client = self.running.ready["client_ids"]["device"].as_str().unwrap();
        let post = |path: &str, fields: &[(&str, &str)]| {
            let (status, response) = self.runtime.block_on(send(form(self.running.url("issuer", path), fields)));
            assert_eq!(status, 200, "{response}");
            response
        };
        let device = post("/oauth/device/code", &[("client_id", client), ("scope", "openid offline_access")]);
        let code = device["user_code"].as_str().unwrap();
        post("/activate", &[("user_code", code), ("decision", "approve"), ("user", user)]);
        let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
        let code = ("device_code", device["device_code"].as_str().unwrap());
        post("/oauth/token", &[grant, ("client_id", client), code])["refresh_token"].as_str().unwrap().to_owned()
    }

    /// Submits a run with these items, and returns its id.
    pub(crate) fn submit(&self, application: &str, items: &[&str]) -> String {
        let slide = json!({ "name": "whole_slide_image", "download_url": "http://127.0.0.1:9/a", "metadata": {} });
        let items = items.iter().map(|item| json!({ "external_id": item, "input_artifacts": [slide] }));
        let body = json!({ "application_id": application, "items": items.collect::<Vec<_>>() });
        let (status, response) = self.api(Method::Post, "/api/v1/runs", Some(&body));
        assert_eq!(status, 201, "{response}");
        response["run_id"].as_str().unwrap().to_owned()
    }

    /// Sends a request to the control routes of the emulator, and returns the response.
    pub(crate) fn control(&self, method: Method, path: &str, body: &Value) -> Value {
        let control = &self.running.ready["control"];
        let request = Request::new(method, format!("{}{path}", control["url"].as_str().unwrap()).parse().unwrap());
        let request = request.with_header("authorization", format!("Bearer {}", control["token"].as_str().unwrap()));
        let request = request.with_body("application/json", body.to_string());
        self.runtime.block_on(async {
            let response = http().send(request).await.unwrap();
            assert!(response.status() < 300, "{}", response.status());
            serde_json::from_slice(&response.bytes(1 << 20).await.unwrap()).unwrap_or_default()
        })
    }

    /// Returns the response of a control route of the emulator.
    pub(crate) fn control_get(&self, path: &str) -> Value {
        let control = &self.running.ready["control"];
        let request = Request::get(format!("{}{path}", control["url"].as_str().unwrap()).parse().unwrap());
        let bearer = format!("Bearer {}", control["token"].as_str().unwrap());
        let (status, response) = self.runtime.block_on(send(request.with_header("authorization", bearer)));
        assert_eq!(status, 200, "{response}");
        response
    }

    /// Returns all requests to a server with this method and path prefix, in order.
    pub(crate) fn requests(&self, server: &str, method: &str, path: &str) -> Vec<Value> {
        let matches = |entry: &Value| {
            entry["server"] == server
                && entry["method"] == method
                && entry["path"].as_str().is_some_and(|entry_path| entry_path.starts_with(path))
        };
        let mut requests = self.runtime.block_on(journal(&self.running));
        requests.retain(matches);
        requests
    }

    /// Waits until a condition is true, and fails after a minute.
    pub(crate) fn wait_until(&self, description: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        while !condition(self) {
            assert!(tokio::time::Instant::now() < deadline, "timed out: {description}");
            std::thread::yield_now();
        }
    }

    /// Returns the number of requests to which this server of the emulator has responded, with this method and path
    /// prefix.
    pub(crate) fn served(&self, server: &str, method: &str, path: &str) -> usize {
        self.requests(server, method, path).len()
    }
}

/// The published schemas, for references between them.
struct SchemaRetriever(PathBuf);

impl jsonschema::Retrieve for SchemaRetriever {
    fn retrieve(&self, uri: &jsonschema::Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let name = uri.path().as_str().rsplit('/').next().unwrap_or_default();
        Ok(serde_json::from_str(&fs::read_to_string(self.0.join(name))?)?)
    }
}

/// Fails with all errors if a value does not conform to the published schema.
pub(crate) fn assert_conforms(schema: &str, value: &Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas");
    let path = folder.join(format!("{schema}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let options = jsonschema::options().with_retriever(SchemaRetriever(folder));
    let validator = options.build(&serde_json::from_str(&text).unwrap()).unwrap();
    let problems: Vec<_> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{schema}: {problems:#?}\n{value:#}");
}
