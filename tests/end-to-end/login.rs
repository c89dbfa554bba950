//! `aignostics user` and `auth`, at a terminal and in scripts.

mod failures;

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};

use auth_http::{HttpClient, Method, Request, Response};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use url::Url;

use crate::command::{BINARY, CommandResult, Sandbox};
use crate::emulator::{RunningEmulator, form, http};

/// A user of an emulator, with an empty home folder.
pub(crate) struct UserHome<'a> {
    sandbox: &'a Sandbox,
    running: &'a RunningEmulator,
    runtime: Runtime,
    variables: Vec<(&'static str, String)>,
    http: HttpClient,
}

/// A login that waits for its user.
pub(crate) struct Login {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// The first line of output, with the URL to open.
    pub(crate) line: String,
}

impl Login {
    /// Returns the remaining output after the login has succeeded.
    pub(crate) fn succeeded(mut self) -> String {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
        rest
    }
}

impl<'a> UserHome<'a> {
    pub(crate) fn new(sandbox: &'a Sandbox, running: &'a RunningEmulator) -> Self {
        Self { sandbox, running, runtime: Runtime::new().unwrap(), variables: Vec::new(), http: http() }
    }

    /// Adds variables, which override the variables of the emulator.
    pub(crate) fn with_variables(mut self, variables: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        self.variables.extend(variables);
        self
    }

    /// Sets the HTTP client of the user's browser. The default is `http()`.
    pub(crate) fn with_http(mut self, http: HttpClient) -> Self {
        self.http = http;
        self
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.sandbox.path("home"))
            .current_dir(self.sandbox.temporary());
        let variables = self.running.ready["env"].as_object().unwrap();
        command.envs(variables.iter().map(|(name, value)| (name, value.as_str().unwrap())));
        command.env_remove("AIGNOSTICS_REFRESH_TOKEN").env("AIGNOSTICS_REDIRECT_URI", "http://127.0.0.1:0/");
        command.env("AIGNOSTICS_CACHE_DIR", self.cache());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.sandbox.path("cache")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> CommandResult {
        CommandResult::of(&self.command(arguments).output().unwrap())
    }

    /// Starts a login and waits until it has printed the URL.
    pub(crate) fn start(&self, arguments: &[&str]) -> Login {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        Login { child, stderr, line }
    }

    /// Applies this effect to the next response of the token endpoint.
    fn inject_fault(&self, effect: &Value) {
        let control = &self.running.ready["control"];
        let request =
            Request::new(Method::Post, format!("{}/faults", control["url"].as_str().unwrap()).parse().unwrap());
        let request = request.with_header("authorization", format!("Bearer {}", control["token"].as_str().unwrap()));
        let fault = json!({ "server": "identity", "path": "/oauth/token", "times": 1, "effect": effect });
        let request = request.with_body("application/json", fault.to_string());
        assert_eq!(self.runtime.block_on(http().send(request)).unwrap().status(), 201);
    }

    fn get(&self, url: Url) -> Response {
        self.runtime.block_on(self.http.send(Request::get(url))).unwrap()
    }

    /// Opens the URL like a browser. The login page responds automatically.
    pub(crate) fn visit(&self, line: &str) {
        let url: Url = line.trim().strip_prefix("to log in, open ").unwrap().parse().unwrap();
        let callback_url = self.get(url).header("location").unwrap().parse().unwrap();
        assert_eq!(self.get(callback_url).status(), 200);
    }

    /// Approves a device login.
    pub(crate) fn approve(&self, line: &str) {
        let (_, code) = line.trim().rsplit_once(' ').unwrap();
        let page = form(self.running.url("issuer", "/activate"), &[("user_code", code), ("decision", "approve")]);
        assert_eq!(self.runtime.block_on(self.http.send(page)).unwrap().status(), 200);
    }
}

fn start_with_automatic_login(sandbox: &Sandbox) -> RunningEmulator {
    let config = sandbox.path("config.toml");
    std::fs::write(&config, "automatic_login = true\ndevice_interval_seconds = 0").unwrap();
    RunningEmulator::start(sandbox, &["--config", config.to_str().unwrap()])
}

#[test]
fn browser_login_whoami_and_logout_work() {
    let sandbox = Sandbox::new();
    let running = start_with_automatic_login(&sandbox);
    let home = UserHome::new(&sandbox, &running);
    let login = home.start(&["user", "login", "--no-browser"]);
    home.visit(&login.line);
    let printed = login.succeeded();
    assert_eq!(printed, "logged in as Ada Emulator of org_emulator\n");

    let again = home.run(&["user", "login", "--no-browser"]);
    again.assert_code(0);
    assert_eq!(again.stderr, "logged in as Ada Emulator of org_emulator\n", "no second prompt");
    for (arguments, is_masked) in [
        (&["user", "whoami"][..], true),
        (&["user", "whoami", "--mask-secrets"], true),
        (&["platform", "whoami", "--no-mask-secrets"], false),
    ] {
        let whoami = home.run(arguments);
        whoami.assert_code(0);
        let whoami: Value = serde_json::from_str(&whoami.stdout).unwrap();
        assert_eq!((&whoami["user"]["id"], &whoami["role"]), (&"auth0|emulator-1".into(), &"admin".into()));
        let secret = whoami["organization"]["aignostics_bucket_hmac_secret_access_key"].as_str().unwrap();
        assert_eq!(secret.starts_with("***MASKED("), is_masked, "{secret}");
    }
    let logout = home.run(&["user", "logout"]);
    logout.assert_code(0);
    assert_eq!(logout.stderr, "logged out\n");
    let logout = home.run(&["user", "logout"]);
    logout.assert_code(2);
    assert_eq!(logout.error_message(), "error: not logged in");
    let token = home.run(&["auth", "token"]);
    token.assert_code(4);
    assert!(token.stdout.is_empty() && token.stderr.contains("log in first"), "{}", token.stderr);
}

#[test]
fn device_login_provides_tokens_for_scripts() {
    let sandbox = Sandbox::new();
    let running = start_with_automatic_login(&sandbox);
    let home = UserHome::new(&sandbox, &running);
    let login = home.start(&["user", "login", "--device"]);
    home.approve(&login.line);
    let printed = login.succeeded();
    assert!(printed.ends_with("logged in as Ada Emulator of org_emulator\n"), "{printed}");

    let plain = home.run(&["auth", "token"]);
    plain.assert_code(0);
    assert_eq!(plain.stdout.trim().split('.').count(), 3);
    let json = home.run(&["auth", "token", "--min-ttl", "10m", "--format", "json"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["access_token"], plain.stdout.trim(), "the token is the same while it is valid");
    let exec: Value = serde_json::from_str(&home.run(&["auth", "token", "--exec-credential"]).stdout).unwrap();
    assert_eq!((&exec["status"]["token"], &exec["kind"]), (&json["access_token"], &"ExecCredential".into()));
    let longer = home.run(&["auth", "token", "--min-ttl", "25h"]);
    longer.assert_code(1);
    assert!(longer.stdout.is_empty() && longer.stderr.contains("valid for 90000 s"), "{}", longer.stderr);
    home.run(&["auth", "token", "--min-ttl", "soon"]).assert_code(2);
    // The command refreshed the login, which is still valid.
    assert_ne!(home.run(&["auth", "token"]).stdout, plain.stdout);

    let again = home.start(&["user", "login", "--device", "--relogin"]);
    home.approve(&again.line);
    again.succeeded();
    assert_eq!(home.run(&["user", "whoami"]).code, Some(0));
}

#[test]
fn login_is_private_and_for_one_platform() {
    let sandbox = Sandbox::new();
    let (running, other) = (start_with_automatic_login(&sandbox), start_with_automatic_login(&sandbox));
    let home = UserHome::new(&sandbox, &running);
    let login = home.start(&["user", "login", "--no-browser"]);
    home.visit(&login.line);
    login.succeeded();
    let elsewhere = UserHome::new(&sandbox, &other).run(&["auth", "token"]);
    elsewhere.assert_code(4);
    assert!(elsewhere.stderr.contains("log in first"), "{}", elsewhere.stderr);
    home.run(&["auth", "token"]).assert_code(0);
    #[cfg(unix)]
    for entry in std::fs::read_dir(home.cache().join("logins")).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn configured_refresh_token_is_a_separate_login() {
    let sandbox = Sandbox::new();
    let running = start_with_automatic_login(&sandbox);
    let home = UserHome::new(&sandbox, &running);
    let refresh_token = running.ready["env"]["AIGNOSTICS_REFRESH_TOKEN"].as_str().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = home.command(arguments);
        CommandResult::of(&command.env("AIGNOSTICS_REFRESH_TOKEN", refresh_token).output().unwrap())
    };
    let token = run(&["auth", "token"]);
    token.assert_code(0);
    assert_eq!(run(&["auth", "token"]).stdout, token.stdout, "the token is cached");
    run(&["user", "whoami"]).assert_code(0);
    run(&["user", "logout"]).assert_code(2);
    let other = run(&["user", "login", "--relogin", "--no-browser"]);
    assert!(
        other.code == Some(1) && other.stderr.contains("AIGNOSTICS_REFRESH_TOKEN sets the credential"),
        "{}",
        other.stderr
    );
    assert_eq!(run(&["auth", "token"]).stdout, token.stdout);
    home.run(&["auth", "token"]).assert_code(4);
}

#[test]
fn invalid_settings_are_named_and_cloned_folders_ignored() {
    let sandbox = Sandbox::new();
    let running = start_with_automatic_login(&sandbox);
    let home = UserHome::new(&sandbox, &running);
    let mut command = home.command(&["user", "whoami"]);
    let result =
        command.env("AIGNOSTICS_RUN_TIMEOUT", "soon").env("AIGNOSTICS_TOKEN_URL", "http://evil.example/").output();
    let result = CommandResult::of(&result.unwrap());
    result.assert_code(2);
    assert!(
        result.stderr.contains("AIGNOSTICS_RUN_TIMEOUT") && result.stderr.contains("AIGNOSTICS_TOKEN_URL"),
        "{}",
        result.stderr
    );

    std::fs::write(sandbox.temporary().join(".env"), "AIGNOSTICS_TOKEN_URL=https://evil.example/oauth/token").unwrap();
    let run_without_variables = |arguments: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(arguments).env_clear().env("HOME", sandbox.path("home")).current_dir(sandbox.temporary());
        CommandResult::of(&command.output().unwrap())
    };
    let ignored = run_without_variables(&["auth", "token"]);
    ignored.assert_code(4);
    assert!(
        ignored.stderr.contains("AIGNOSTICS_TOKEN_URL") && ignored.stderr.contains("log in first"),
        "{}",
        ignored.stderr
    );
    let no_device = run_without_variables(&["user", "login", "--device"]);
    no_device.assert_code(1);
    assert!(no_device.stderr.contains("AIGNOSTICS_CLIENT_ID_DEVICE"), "{}", no_device.stderr);
    let roots = run_without_variables(&["user", "whoami", "--ca-cert", "/nowhere.pem"]);
    roots.assert_code(2);
    assert!(roots.stderr.contains("/nowhere.pem"), "{}", roots.stderr);
}

/// Returns the arguments of all processes on this machine.
#[cfg(target_os = "linux")]
fn process_list() -> String {
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
    // Most entries are not processes, and some processes have ended in between.
    processes.filter_map(|path| Some(String::from_utf8_lossy(&std::fs::read(path).ok()?).into_owned())).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn process_list_shows_no_token() {
    let sandbox = Sandbox::new();
    let running = start_with_automatic_login(&sandbox);
    let home = UserHome::new(&sandbox, &running);
    let login = home.start(&["user", "login", "--no-browser"]);
    let mut process_lists = process_list();
    assert!(process_lists.contains(BINARY), "the command is listed");
    home.visit(&login.line);
    process_lists += &process_list();
    login.succeeded();
    for arguments in [&["auth", "token", "--min-ttl", "25h"][..], &["user", "whoami"], &["user", "logout"]] {
        let mut child = home.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while child.try_wait().unwrap().is_none() {
            process_lists += &process_list();
        }
        let logins = std::fs::read_dir(home.cache().join("logins")).unwrap().map(|entry| entry.unwrap().path());
        for file in logins.filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
            let login_record: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            for secret in ["access_token", "refresh_token"] {
                let secret = login_record["token"][secret].as_str().unwrap();
                assert!(!process_lists.contains(secret) && secret.len() > 20);
            }
        }
    }
}

#[test]
fn port_in_use_leads_to_the_device_flow_or_a_remedy() {
    let sandbox = Sandbox::new();
    let running = start_with_automatic_login(&sandbox);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let redirect = [("AIGNOSTICS_REDIRECT_URI", format!("http://127.0.0.1:{port}/"))];
    let home = UserHome::new(&sandbox, &running).with_variables(redirect);
    // Both retry for nine seconds to bind the port.
    let mut without_device_flow = home.command(&["user", "login", "--no-browser"]);
    let without_device_flow =
        without_device_flow.env_remove("AIGNOSTICS_CLIENT_ID_DEVICE").stderr(Stdio::piped()).spawn().unwrap();
    let login = home.start(&["user", "login", "--no-browser"]);
    home.approve(&login.line);
    assert!(login.succeeded().ends_with("logged in as Ada Emulator of org_emulator\n"));
    let without_device_flow = CommandResult::of(&without_device_flow.wait_with_output().unwrap());
    without_device_flow.assert_code(1);
    let message = format!(
        "port {port} of the redirect URL is in use: stop the process that listens on it, or use the device flow"
    );
    assert!(without_device_flow.stderr.contains(&message), "{}", without_device_flow.stderr);
}

#[test]
fn user_without_a_browser_gets_the_device_flow() {
    let sandbox = Sandbox::new();
    let running = start_with_automatic_login(&sandbox);
    // The variables name no display.
    let home = UserHome::new(&sandbox, &running).with_variables([("SSH_CONNECTION", "1 2 3 4".to_owned())]);
    let login = home.start(&["user", "login"]);
    home.approve(&login.line);
    assert!(login.succeeded().ends_with("logged in as Ada Emulator of org_emulator\n"));
}

#[test]
#[cfg(unix)]
fn pending_login_blocks_no_other_command() {
    let sandbox = Sandbox::new();
    let running = start_with_automatic_login(&sandbox);
    let home = UserHome::new(&sandbox, &running);
    let login = home.start(&["user", "login", "--no-browser"]);
    let token = home.run(&["auth", "token"]);
    assert!(token.code == Some(4) && token.stderr.contains("log in first"), "{}", token.stderr);
    home.visit(&login.line);
    login.succeeded();
    home.run(&["auth", "token"]).assert_code(0);
}

#[test]
fn doctor_reports_problems_with_remedies() {
    let sandbox = Sandbox::new();
    let running = start_with_automatic_login(&sandbox);
    let home = UserHome::new(&sandbox, &running);
    let before_login = home.run(&["auth", "doctor"]);
    before_login.assert_code(1);
    let failed: Vec<_> = before_login.stdout.lines().filter(|line| line.starts_with("FAILED")).collect();
    assert!(failed.len() == 1 && failed[0].contains("login: "), "{}", before_login.stdout);
    assert!(before_login.stdout.contains("hint: log in (again)"), "{}", before_login.stdout);
    let login = home.start(&["user", "login", "--no-browser"]);
    home.visit(&login.line);
    login.succeeded();
    let healthy = home.run(&["auth", "doctor"]);
    healthy.assert_code(0);
    for name in
        ["settings", "identity provider", "clock", "platform", "storage", "logins on this machine", "port", "login"]
    {
        assert!(healthy.stdout.contains(&format!("ok      {name}")), "{name}: {}", healthy.stdout);
    }
    assert!(healthy.stdout.contains("auth0|emulator-1 of org_emulator"), "{}", healthy.stdout);

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let failing = home
        .command(&["auth", "doctor"])
        .env("AIGNOSTICS_REDIRECT_URI", format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port()))
        .env("AIGNOSTICS_BUCKET_ENDPOINT", "http://127.0.0.1:9/")
        .env("AIGNOSTICS_CACHE_DIR", "/proc/nowhere")
        .output();
    let failing = CommandResult::of(&failing.unwrap());
    failing.assert_code(1);
    let failed: Vec<_> = failing.stdout.lines().filter(|line| line.starts_with("FAILED")).collect();
    let names = ["storage", "logins on this machine", "port for the browser", "login"];
    assert!(names.iter().zip(&failed).all(|(name, line)| line[8..].starts_with(name)), "{}", failing.stdout);
    assert_eq!((failed.len(), failing.stdout.matches("hint: ").count()), (4, 4), "{}", failing.stdout);
}
