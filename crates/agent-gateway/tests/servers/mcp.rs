//! The MCP servers, in a separate process per test.

use std::env;
use std::fs;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::needs;
use crate::provider::PATIENCE;

const REQUIREMENTS: &str = include_str!("../../../../tests/peers/mcp/requirements.txt");
const PROGRAM: &str = include_str!("../../../../tests/peers/mcp/server.py");

/// Five servers behind one gateway. They end when this is dropped, or with the test process.
pub(crate) struct Mcp {
    process: Child,
    commands: Option<ChildStdin>,
    answers: Receiver<String>,
    complaints: File,
    pub(crate) port: u16,
}

/// The TLS files of the servers: a certificate, its key, and the authority of the clients.
pub(crate) type Tls = [PathBuf; 3];

impl Mcp {
    /// Starts the servers. Returns `None`, with a message, if they are not installed. They accept tokens for `audience`
    /// that are signed with the keys at `jwks`.
    pub(crate) fn start(jwks: &str, audience: &str, tls: Option<&Tls>) -> Option<Self> {
        Self::start_at(0, jwks, audience, tls)
    }

    pub(crate) fn start_at(port: u16, jwks: &str, audience: &str, tls: Option<&Tls>) -> Option<Self> {
        let python = python()?;
        let complaints = tempfile::tempfile().unwrap();
        let mut process = Command::new(python)
            .args(["-c", PROGRAM, jwks, audience, &port.to_string()])
            .args(tls.into_iter().flatten())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints.try_clone().unwrap())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (say, answers) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        let mut mcp = Self { commands: process.stdin.take(), process, answers, complaints, port: 0 };
        mcp.port = mcp.answer()["port"].as_u64().unwrap().try_into().unwrap();
        Some(mcp)
    }

    /// Returns the requests of a method so far.
    pub(crate) fn requests(&self, method: &str) -> Vec<Value> {
        let Value::Array(requests) = self.tell(&json!({}))["requests"].take() else { panic!("no list") };
        requests.into_iter().filter(|request| request["method"] == method).collect()
    }

    /// Waits until there were `count` requests of a method.
    pub(crate) fn wait_for(&self, method: &str, count: u64) {
        self.tell(&json!({ "until": [method, count] }));
    }

    /// Revokes every token accepted so far.
    pub(crate) fn revoke(&self) {
        self.tell(&json!({ "revoke": true }));
    }

    /// Makes these servers respond with a status, or not at all for 0. All other servers are up.
    pub(crate) fn let_down(&self, servers: &[(&str, u16)]) {
        let down: serde_json::Map<_, _> =
            servers.iter().map(|(name, status)| ((*name).to_owned(), json!(status))).collect();
        self.tell(&json!({ "down": down }));
    }

    /// Delays tool lists until this number of servers has a request for one.
    pub(crate) fn wait_together(&self, servers: usize) {
        self.tell(&json!({ "together": servers }));
    }

    /// Releases the waiting tools.
    pub(crate) fn release(&self) {
        self.tell(&json!({ "release": true }));
    }

    /// Forgets all sessions.
    pub(crate) fn forget_sessions(&self) {
        self.tell(&json!({ "forget": true }));
    }

    fn tell(&self, command: &Value) -> Value {
        writeln!(self.commands.as_ref().unwrap(), "{command}").unwrap();
        self.answer()
    }

    fn answer(&self) -> Value {
        let answer = self
            .answers
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|error| panic!("no answer of the servers ({error}): {}", self.complaints()));
        serde_json::from_str(&answer).unwrap()
    }

    /// Returns the standard error output of the servers.
    pub(crate) fn complaints(&self) -> String {
        let (mut file, mut complaints) = (&self.complaints, String::new());
        file.rewind().unwrap();
        file.read_to_string(&mut complaints).unwrap();
        complaints
    }
}

impl Drop for Mcp {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the Python interpreter for the servers, if its packages have the expected versions.
fn python() -> Option<PathBuf> {
    let tools = env::var_os("AIGNOSTICS_TEST_TOOLS").map(PathBuf::from);
    let tools = tools.or_else(|| Some(env::home_dir()?.join(".cache/aignostics-test-tools")));
    let folder = tools.map(|tools| tools.join("mcp"));
    let is_installed = |folder: &Path| {
        fs::read_to_string(folder.join("requirements.txt")).is_ok_and(|requirements| requirements == REQUIREMENTS)
    };
    if let Some(folder) = folder.filter(|folder| is_installed(folder)) {
        return Some(folder.join("bin/python"));
    }
    let remedy = "make a virtual environment in ~/.cache/aignostics-test-tools/mcp, or below what AIGNOSTICS_TEST_TOOLS \
                  names, with tests/peers/mcp/requirements.txt, and copy that file there, as .ci/run does";
    needs::missing("the PyPI package mcp, as pinned", remedy);
    None
}
