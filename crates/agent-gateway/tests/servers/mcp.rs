//! The MCP servers, which run in one process for each test.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::provider::TIMEOUT;

/// The packages of the servers, with their pinned versions: versions 2 and 1 of `mcp` from `PyPI`.
pub(crate) const PEERS: [(&str, &str); 2] = [
    ("mcp", include_str!("../../../../tests/peers/mcp/requirements.txt")),
    ("mcp-1", include_str!("../../../../tests/peers/mcp-1/requirements.txt")),
];
const PROGRAM: &str = include_str!("../../../../tests/peers/mcp/server.py");

/// Five servers behind one gateway, in one process. It ends when this value is dropped, or with the test process.
pub(crate) struct McpServers {
    process: Child,
    commands: Option<ChildStdin>,
    responses: Receiver<String>,
    stderr_file: File,
    pub(crate) port: u16,
    /// The index in [`PEERS`].
    peer_index: usize,
}

/// The TLS files of the servers: a certificate, its key, and the authority of the clients.
pub(crate) type TlsFiles = [PathBuf; 3];

impl McpServers {
    /// Starts the servers. Returns `None`, with a message, if they are not installed. They accept tokens for `audience`
    /// that are signed with the keys at `jwks`. `peer_index` is an index in [`PEERS`].
    pub(crate) fn start(
        peer_index: usize,
        port: u16,
        jwks: &str,
        audience: &str,
        tls: Option<&TlsFiles>,
    ) -> Option<Self> {
        let (name, requirements) = PEERS[peer_index];
        let python = crate::packages::python(name, requirements)?;
        let stderr_file = tempfile::tempfile().unwrap();
        let mut process = Command::new(python)
            .args(["-c", PROGRAM, jwks, audience, &port.to_string()])
            .args(tls.into_iter().flatten())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr_file.try_clone().unwrap())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, responses) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut mcp = Self { commands: process.stdin.take(), process, responses, stderr_file, port: 0, peer_index };
        mcp.port = mcp.receive()["port"].as_u64().unwrap().try_into().unwrap();
        Some(mcp)
    }

    /// Restarts the servers at the same port.
    pub(crate) fn restart(&mut self, jwks: &str, audience: &str, tls: &TlsFiles) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        *self = Self::start(self.peer_index, self.port, jwks, audience, Some(tls)).unwrap();
    }

    /// Returns the requests with this method.
    pub(crate) fn requests(&self, method: &str) -> Vec<Value> {
        let Value::Array(requests) = self.send(&json!({}))["requests"].take() else { panic!("no list") };
        requests.into_iter().filter(|request| request["method"] == method).collect()
    }

    /// Waits until the servers have received `count` requests with this method.
    pub(crate) fn wait_for(&self, method: &str, count: u64) {
        self.send(&json!({ "until": [method, count] }));
    }

    /// Revokes every token that was accepted so far.
    pub(crate) fn revoke(&self) {
        self.send(&json!({ "revoke": true }));
    }

    /// Makes these servers respond with a status. With status 0, a server does not respond. All other servers work.
    pub(crate) fn fail_servers(&self, servers: &[(&str, u16)]) {
        let down: serde_json::Map<_, _> =
            servers.iter().map(|(name, status)| ((*name).to_owned(), json!(status))).collect();
        self.send(&json!({ "down": down }));
    }

    /// Delays responses to `tools/list` until this number of servers has received such a request.
    pub(crate) fn wait_together(&self, servers: usize) {
        self.send(&json!({ "together": servers }));
    }

    /// Lets the waiting tools return.
    pub(crate) fn release(&self) {
        self.send(&json!({ "release": true }));
    }

    /// Ends all sessions, as a restart of the servers would.
    pub(crate) fn forget_sessions(&self) {
        self.send(&json!({ "forget": true }));
    }

    /// Makes the servers refuse `server/discover`, as servers before MCP 2026-07-28 do.
    pub(crate) fn require_sessions(&self) {
        self.send(&json!({ "sessions": true }));
    }

    /// Sends a command to the process. Returns the response.
    fn send(&self, command: &Value) -> Value {
        writeln!(self.commands.as_ref().unwrap(), "{command}").unwrap();
        self.receive()
    }

    fn receive(&self) -> Value {
        let response = self
            .responses
            .recv_timeout(TIMEOUT)
            .unwrap_or_else(|error| panic!("no response from the servers ({error}): {}", self.stderr_text()));
        serde_json::from_str(&response).unwrap()
    }

    /// Returns the standard error output of the servers.
    pub(crate) fn stderr_text(&self) -> String {
        let (mut file, mut text) = (&self.stderr_file, String::new());
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for McpServers {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
