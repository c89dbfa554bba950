//! Machine credentials: every provider against the emulator, the levels of settings, and the errors.
#![cfg(unix)]

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::command::Ended;
use crate::emulator::{form, send, token};
use crate::shell::Shell;

const USER: &str = "auth0|emulator-1";

/// A machine whose environment contains no credential.
pub(crate) struct Machine {
    pub(crate) shell: Shell,
}

impl Machine {
    pub(crate) fn start() -> Self {
        Self { shell: Shell::start() }
    }

    pub(crate) fn command(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Command {
        let mut command = self.shell.command(arguments);
        command.env_remove("AIGNOSTICS_REFRESH_TOKEN").envs(variables.iter().copied());
        command
    }

    pub(crate) fn run(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
        Ended::of(&self.command(variables, arguments).output().unwrap())
    }

    /// Returns the id of the user that the platform sees.
    fn who(&self, variables: &[(&str, &str)], arguments: &[&str]) -> String {
        let ended = self.run(variables, &[&["user", "whoami"], arguments].concat());
        ended.assert_code(0);
        serde_json::from_str::<Value>(&ended.stdout).unwrap()["user"]["id"].as_str().unwrap().to_owned()
    }

    /// Returns the message of a failure, which must have this exit code.
    fn failure(&self, code: i32, variables: &[(&str, &str)], arguments: &[&str]) -> String {
        let ended = self.run(variables, &[&["user", "whoami"], arguments].concat());
        ended.assert_code(code);
        assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("canary"), "{}", ended.stderr);
        ended.stderr
    }

    /// Returns an access token of the first user.
    pub(crate) fn token(&self) -> String {
        Runtime::new().unwrap().block_on(token(&self.shell.running))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.shell.folder().join(name)
    }

    /// Writes a file with this mode, and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    }

    /// Writes a shell script, and returns its path.
    pub(crate) fn script(&self, name: &str, text: &str) -> String {
        self.write(name, &format!("#!/bin/sh\n{text}\n"), 0o755)
    }

    pub(crate) fn client_id(&self) -> &str {
        self.shell.running.ready["client_ids"]["machine"].as_str().unwrap()
    }

    pub(crate) fn secret(&self) -> String {
        self.write("secret", self.shell.running.ready["machine_client_secret"].as_str().unwrap(), 0o600)
    }
}

fn jwt(claims: &Value) -> String {
    format!("{}.{}.Y2FuYXJ5", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// Serves `answers` (status and body), one per connection, and returns the URL.
pub(crate) fn serving(answers: Vec<(u16, String)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn token_comes_from_a_variable_a_file_or_a_command() {
    let machine = Machine::start();
    let token = machine.token();
    let file = machine.write("token", &token, 0o600);
    let command = format!("cat '{file}'");
    let array = json!(["/bin/cat", file]).to_string();
    for (variables, arguments) in [
        (&[("AIGNOSTICS_ACCESS_TOKEN", token.as_str())][..], &[][..]),
        (&[("AIGNOSTICS_ACCESS_TOKEN_FILE", file.as_str())], &[]),
        (&[("AIGNOSTICS_TOKEN_COMMAND", command.as_str())], &[]),
        (&[("AIGNOSTICS_TOKEN_COMMAND", array.as_str())], &[]),
        (&[], &["--token-file", file.as_str()]),
        (&[], &["--token-command", command.as_str()]),
    ] {
        assert_eq!(machine.who(variables, arguments), USER, "{variables:?} {arguments:?}");
    }
    let printed = machine.run(&[("AIGNOSTICS_ACCESS_TOKEN", &token)], &["auth", "token"]);
    assert_eq!(printed.stdout.trim(), token);
}

#[test]
fn client_authenticates_with_its_secret_file() {
    let machine = Machine::start();
    let (id, secret) = (machine.client_id().to_owned(), machine.secret());
    let variables = [("AIGNOSTICS_CLIENT_ID", id.as_str()), ("AIGNOSTICS_CLIENT_SECRET_FILE", &secret)];
    let expected = format!("{id}@clients");
    assert_eq!(machine.who(&variables, &[]), expected);
    assert_eq!(machine.who(&variables, &[]), expected);
    assert_eq!(machine.shell.served("identity", "POST", "/oauth/token"), 1, "processes share the token");
    let wrong = machine.write("wrong", "canary", 0o600);
    let other = machine.path("other").display().to_string();
    let variables = [
        ("AIGNOSTICS_CLIENT_ID", id.as_str()),
        ("AIGNOSTICS_CLIENT_SECRET_FILE", &wrong),
        ("AIGNOSTICS_CACHE_DIR", &other),
    ];
    let said = machine.failure(4, &variables, &[]);
    for part in ["client credentials", "AIGNOSTICS_CLIENT_SECRET_FILE", "invalid_client", "replace the credential"] {
        assert!(said.contains(part), "{said}");
    }
    let said = machine.failure(2, &[("AIGNOSTICS_CLIENT_ID", &id)], &[]);
    assert!(said.contains("AIGNOSTICS_CLIENT_KEY_FILE must be set"), "{said}");
}

#[test]
fn workload_identity_is_exchanged() {
    let machine = Machine::start();
    let (id, secret, token) = (machine.client_id().to_owned(), machine.secret(), machine.token());
    let file = machine.write("projected", &token, 0o644);
    let from_file = format!("file:{file}");
    let github = serving(vec![(200, json!({ "value": token }).to_string())]);
    let url = format!("url:{}", serving(vec![(200, token.clone())]));
    let sources: [&[(&str, &str)]; 6] = [
        &[("AIGNOSTICS_WORKLOAD_IDENTITY", from_file.as_str())],
        &[("AIGNOSTICS_WORKLOAD_IDENTITY", "kubernetes"), ("AIGNOSTICS_WORKLOAD_IDENTITY_FILE", file.as_str())],
        &[("AIGNOSTICS_WORKLOAD_IDENTITY", "gitlab"), ("AIGNOSTICS_ID_TOKEN", token.as_str())],
        &[("AIGNOSTICS_WORKLOAD_IDENTITY", "env:MY_ID"), ("MY_ID", token.as_str())],
        &[
            ("AIGNOSTICS_WORKLOAD_IDENTITY", "github"),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", github.as_str()),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request"),
        ],
        &[("AIGNOSTICS_WORKLOAD_IDENTITY", url.as_str())],
    ];
    for (number, source) in sources.into_iter().enumerate() {
        let grant = if number % 2 == 0 { "token-exchange" } else { "jwt-bearer" };
        let cache = machine.path(&format!("cache-{number}")).display().to_string();
        let client = [
            ("AIGNOSTICS_CLIENT_ID", id.as_str()),
            ("AIGNOSTICS_CLIENT_SECRET_FILE", &secret),
            ("AIGNOSTICS_WORKLOAD_IDENTITY_GRANT", grant),
            ("AIGNOSTICS_WORKLOAD_IDENTITY_SUBJECT_TOKEN_TYPE", "access_token"),
            ("AIGNOSTICS_CACHE_DIR", &cache),
        ];
        let variables = [source, &client].concat();
        assert_eq!(machine.who(&variables, &[]), USER, "{source:?}");
    }
}

#[test]
fn ci_identity_is_used_only_on_request() {
    let machine = Machine::start();
    let variables =
        [("ACTIONS_ID_TOKEN_REQUEST_URL", "http://127.0.0.1:9/"), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary")];
    let said = machine.failure(4, &variables, &[]);
    assert!(said.contains("aignostics user login"), "{said}");
}

#[test]
fn highest_level_wins_without_fallback() {
    let machine = Machine::start();
    let token = machine.token();
    let (file, wrong) = (machine.write("token", &token, 0o600), machine.write("wrong", "invalid-token", 0o600));
    assert_eq!(machine.who(&[("AIGNOSTICS_ACCESS_TOKEN", "invalid")], &["--token-file", &file]), USER);
    let said = machine.failure(4, &[("AIGNOSTICS_ACCESS_TOKEN", &token)], &["--token-file", &wrong]);
    assert!(said.contains("token file '--token-file'") && said.contains("provide another token"), "{said}");
    // The environment has precedence over the settings file.
    fs::create_dir_all(machine.path(".aignostics")).unwrap();
    machine.write(".aignostics/.env", "AIGNOSTICS_ACCESS_TOKEN=invalid\n", 0o600);
    assert_eq!(machine.who(&[("AIGNOSTICS_ACCESS_TOKEN_FILE", &file)], &[]), USER);
    machine.failure(4, &[], &[]);
}

#[test]
fn two_sources_on_one_level_are_named() {
    let machine = Machine::start();
    let said = machine.failure(2, &[("AIGNOSTICS_ACCESS_TOKEN", "a"), ("AIGNOSTICS_TOKEN_COMMAND", "b")], &[]);
    assert!(said.contains("AIGNOSTICS_ACCESS_TOKEN") && said.contains("AIGNOSTICS_TOKEN_COMMAND"), "{said}");
    let said = machine.failure(2, &[], &["--token-file", "a", "--token-command", "b"]);
    assert!(said.contains("--token-file") && said.contains("--token-command"), "{said}");
    let refresh = ("AIGNOSTICS_REFRESH_TOKEN", "0123456789");
    let said = machine.failure(2, &[refresh, ("AIGNOSTICS_WORKLOAD_IDENTITY", "gitlab")], &[]);
    assert!(said.contains("AIGNOSTICS_REFRESH_TOKEN") && said.contains("AIGNOSTICS_WORKLOAD_IDENTITY"), "{said}");
}

#[test]
fn env_file_of_the_working_folder_sets_no_credential() {
    let machine = Machine::start();
    let token = machine.token();
    machine.write(".env", &format!("AIGNOSTICS_ACCESS_TOKEN={token}\nAIGNOSTICS_PROFILE=evil\n"), 0o600);
    let said = machine.failure(4, &[], &[]);
    assert!(said.contains("ignoring a setting") && !said.contains(&token), "{said}");
    assert_eq!(machine.who(&[], &["--trust-env-file"]), USER);
    let names = ["TOKEN_COMMAND", "ACCESS_TOKEN_FILE", "WORKLOAD_IDENTITY", "CLIENT_SECRET_FILE", "TOKEN_CACHE"];
    let lines = names.map(|name| format!("AIGNOSTICS_{name}=x"));
    machine.write(".env", &lines.join("\n"), 0o600);
    let config = machine.run(&[], &["system", "config", "--format", "json"]);
    let config: Value = serde_json::from_str(&config.stdout).unwrap();
    assert_eq!(config["settings"]["ignored"].as_array().unwrap().len(), names.len(), "{config}");
    assert_eq!(config["settings"]["credential"]["source"], "stored login");
}

#[test]
fn unusable_credentials_are_one_message_each() {
    let machine = Machine::start();
    let expired = jwt(&json!({ "exp": 1000 }));
    let other = jwt(&json!({ "aud": "other", "exp": 9_999_999_999_u64 }));
    let (empty, open) = (machine.write("empty", "", 0o600), machine.write("open", "canary", 0o644));
    let missing = machine.path("missing").display().to_string();
    let fails = machine.script("fails", "echo canary; echo no vault >&2; exit 3");
    let html = machine.script("html", "echo '<html>canary</html>'");
    let large = machine.script("large", "head -c 1000000 /dev/zero | tr '\\0' x");
    let endpoint = format!("url:{}", serving(vec![(403, "canary".to_owned())]));
    let gone = "url:http://127.0.0.1:9/token";
    let cases: [(i32, (&str, &str), &[&str]); 10] = [
        (4, ("ACCESS_TOKEN", &expired), &["'AIGNOSTICS_ACCESS_TOKEN'", "expired at 1970-01-01T00:16:40Z", "new token"]),
        (4, ("ACCESS_TOKEN", &other), &["'AIGNOSTICS_ACCESS_TOKEN'", "for the audience 'other'"]),
        (1, ("ACCESS_TOKEN_FILE", &empty), &["token file", &empty, "is empty"]),
        (1, ("ACCESS_TOKEN_FILE", &open), &["token file", &open, "run `chmod 600"]),
        (1, ("ACCESS_TOKEN_FILE", &missing), &["token file", &missing, "does not exist"]),
        (1, ("TOKEN_COMMAND", &fails), &["token command", &fails, "exit code 3: no vault"]),
        (1, ("TOKEN_COMMAND", &html), &["token command", &html, "HTML"]),
        (1, ("TOKEN_COMMAND", &large), &["token command", &large, "larger than 65536 bytes"]),
        (4, ("WORKLOAD_IDENTITY", &endpoint), &["workload identity endpoint", "403", "check the permissions"]),
        (
            1,
            ("WORKLOAD_IDENTITY", gone),
            &["workload identity endpoint", "http://127.0.0.1:9/token", "check the network"],
        ),
    ];
    for (code, (name, value), parts) in cases {
        let name = format!("AIGNOSTICS_{name}");
        let said = machine.failure(code, &[(&name, value), ("AIGNOSTICS_RETRY_FOR", "0")], &[]);
        assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{said}");
        assert!(parts.iter().all(|part| said.lines().next().unwrap().contains(part)), "{parts:?}: {said}");
        assert!(!said.contains("user login"), "{said}");
    }
    assert_eq!(machine.shell.served("api", "GET", "/"), 0, "nothing is sent");
}

#[test]
fn token_that_the_platform_rejects_is_named() {
    let machine = Machine::start();
    let said = machine.failure(4, &[("AIGNOSTICS_ACCESS_TOKEN", "unknown-token")], &[]);
    assert!(said.contains("access token 'AIGNOSTICS_ACCESS_TOKEN': the platform rejected the token"), "{said}");
    assert!(!said.contains("user login"), "{said}");
}

#[test]
fn command_that_is_not_a_command_line_is_exit_code_2() {
    let machine = Machine::start();
    for line in ["'unclosed", "[1]", "[\"a\""] {
        let said = machine.failure(2, &[("AIGNOSTICS_TOKEN_COMMAND", line)], &[]);
        assert!(said.contains("token command"), "{said}");
    }
}

#[test]
fn command_inherits_no_secret_and_does_not_recurse() {
    let machine = Machine::start();
    let token = machine.token();
    let seen = machine.path("seen");
    let file = machine.write("token", &token, 0o600);
    let script = machine.script("command", &format!("env > '{}'; cat '{file}'", seen.display()));
    let variables =
        [("AIGNOSTICS_TOKEN_COMMAND", script.as_str()), ("AIGNOSTICS_SHARE_TOKEN", "canary"), ("OTHER", "kept")];
    assert_eq!(machine.who(&variables, &[]), USER);
    let variables = [("AIGNOSTICS_REFRESH_TOKEN", "canary-canary"), ("OTHER", "kept")];
    assert_eq!(machine.who(&variables, &["--token-command", &script]), USER);
    let seen = fs::read_to_string(seen).unwrap();
    assert!(
        seen.contains("OTHER=kept") && !seen.contains("canary") && !seen.contains("AIGNOSTICS_TOKEN_COMMAND="),
        "{seen}"
    );
    assert!(seen.contains("AIGNOSTICS_IN_TOKEN_COMMAND=1") && seen.contains("AIGNOSTICS_API_ROOT="), "{seen}");

    let again = format!("'{}' auth token", crate::command::BINARY);
    let said = machine.failure(1, &[("AIGNOSTICS_TOKEN_COMMAND", &again)], &[]);
    assert!(said.contains("was started by a token command"), "{said}");
    let with_source = format!("'{}' auth token --token-file '{file}'", crate::command::BINARY);
    assert_eq!(machine.who(&[("AIGNOSTICS_TOKEN_COMMAND", &with_source)], &[]), USER);
}

/// Starts this number of processes at a time, and waits for them.
fn fleet(machine: &Machine, variables: &[(&str, &str)], count: usize) {
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

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// Returns the size of the test: `cargo xtask soak credentials` sets a larger one.
fn size(name: &str, default: usize) -> usize {
    std::env::var(format!("AIGNOSTICS_CREDENTIALS_{name}")).map_or(default, |count| count.parse().unwrap())
}

#[test]
fn processes_share_the_token_of_a_command_until_it_is_revoked() {
    let machine = Machine::start();
    let calls = machine.path("calls");
    let answer = |token: &str| json!({ "access_token": token, "expires_in": 3600 }).to_string();
    let first = machine.token();
    let file = machine.write("answer", &answer(&first), 0o600);
    let script = machine.script("command", &format!("echo >> '{}'; cat '{file}'", calls.display()));
    let variables = [("AIGNOSTICS_TOKEN_COMMAND", script.as_str())];
    let at_a_time = size("PARALLEL", 20);
    let rounds = size("PROCESSES", 40) / at_a_time;
    for _ in 0..rounds {
        fleet(&machine, &variables, at_a_time);
    }
    assert_eq!(lines(&calls), 1);

    machine.write("answer", &answer(&machine.token()), 0o600);
    let client = machine.shell.running.interactive_client().to_owned();
    let revocation =
        form(machine.shell.running.url("issuer", "/oauth/revoke"), &[("client_id", &client), ("token", &first)]);
    assert_eq!(Runtime::new().unwrap().block_on(send(revocation)).0, 200);
    for _ in 0..rounds {
        fleet(&machine, &variables, at_a_time);
    }
    assert_eq!(lines(&calls), 2);
}

#[test]
fn tokens_of_a_command_are_separate_without_permission_to_share() {
    let machine = Machine::start();
    let (calls, token) = (machine.path("calls"), machine.token());
    let file = machine.write("opaque", &token, 0o600);
    let script = machine.script("command", &format!("echo >> '{}'; cat '{file}'", calls.display()));
    let variables = [("AIGNOSTICS_TOKEN_COMMAND", script.as_str())];
    for _ in 0..2 {
        machine.who(&variables, &[]);
    }
    assert_eq!(lines(&calls), 2, "without --token-cache");
    for who in ["one", "one", "two"] {
        let names = [("AIGNOSTICS_TOKEN_CACHE", "1"), ("AIGNOSTICS_TOKEN_COMMAND_CACHE_ENV", "WHO"), ("WHO", who)];
        machine.who(&[&variables[..], &names].concat(), &[]);
    }
    assert_eq!(lines(&calls), 4, "one for each value of the variable");
}

#[test]
fn caller_credential_does_not_reach_a_child_of_the_emulator() {
    let machine = Machine::start();
    let mut command = Command::new(crate::command::BINARY);
    command.args(["emulator", "exec", "--", "env"]).env("AIGNOSTICS_ACCESS_TOKEN", "canary");
    command.env("AIGNOSTICS_TOKEN_COMMAND", "canary").env("AIGNOSTICS_PROFILE", "canary");
    command.env("AIGNOSTICS_WORKLOAD_IDENTITY", "canary").env("AIGNOSTICS_CLIENT_SECRET_FILE", "canary");
    let ended = Ended::of(&command.env("TMPDIR", machine.shell.lab.temporary()).output().unwrap());
    ended.assert_code(0);
    assert!(!ended.stdout.contains("canary") && !ended.stderr.contains("canary"), "{}", ended.stdout);
    assert!(ended.stdout.contains("AIGNOSTICS_REFRESH_TOKEN="), "{}", ended.stdout);
    let mut demo = machine.shell.lab.demo(&[]);
    demo.env("AIGNOSTICS_ACCESS_TOKEN", "canary").env("AIGNOSTICS_PROFILE", "canary");
    let demo = Ended::of(&demo.output().unwrap());
    demo.assert_code(0);
    assert!(!demo.stderr.contains("canary"), "{}", demo.stderr);
}

#[test]
fn projected_file_may_be_readable_by_others() {
    let machine = Machine::start();
    fs::create_dir(machine.path("..2026")).unwrap();
    machine.write("..2026/token", &machine.token(), 0o644);
    symlink("..2026", machine.path("..data")).unwrap();
    symlink("..data/token", machine.path("token")).unwrap();
    assert_eq!(machine.who(&[], &["--token-file", "token"]), USER);
}
