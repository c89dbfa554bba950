//! Helpers for tests of machine-to-machine logins.
#![cfg(unix)]

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::command::CommandResult;
use crate::emulator::token;
use crate::shell::Shell;

pub(crate) const USER: &str = "auth0|emulator-1";

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

    pub(crate) fn run(&self, variables: &[(&str, &str)], arguments: &[&str]) -> CommandResult {
        CommandResult::of(&self.command(variables, arguments).output().unwrap())
    }

    /// Returns the id of the user that the platform sees.
    pub(crate) fn user_id(&self, variables: &[(&str, &str)], arguments: &[&str]) -> String {
        let result = self.run(variables, &[&["user", "whoami"], arguments].concat());
        result.assert_code(0);
        serde_json::from_str::<Value>(&result.stdout).unwrap()["user"]["id"].as_str().unwrap().to_owned()
    }

    /// Runs `user whoami`, which must fail with this exit code and show no secret. Returns stderr.
    pub(crate) fn failure(&self, code: i32, variables: &[(&str, &str)], arguments: &[&str]) -> String {
        let result = self.run(variables, &[&["user", "whoami"], arguments].concat());
        result.assert_code(code);
        assert!(!format!("{}{}", result.stdout, result.stderr).contains("canary"), "{}", result.stderr);
        result.stderr
    }

    /// Returns an access token of the first user.
    pub(crate) fn token(&self) -> String {
        Runtime::new().unwrap().block_on(token(&self.shell.running))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
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

    /// Returns the id of the client of the machine.
    pub(crate) fn client_id(&self) -> &str {
        self.shell.running.ready["client_ids"]["machine"].as_str().unwrap()
    }

    /// Writes the secret of the client to a file, and returns its path.
    pub(crate) fn secret_file(&self) -> String {
        self.write("secret", self.shell.running.ready["machine_client_secret"].as_str().unwrap(), 0o600)
    }
}

/// Returns a JWT with these claims and an invalid signature.
pub(crate) fn jwt(claims: &Value) -> String {
    format!("{}.{}.Y2FuYXJ5", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// Serves `responses` (status and body), one per connection, and returns the URL.
pub(crate) fn serve_responses(responses: Vec<(u16, String)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (status, body) in responses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request_head = Vec::new();
            while !request_head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request_head.extend(byte);
            }
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    url
}
