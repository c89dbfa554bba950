//! A Redis server, in a separate process for each test.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use url::Url;

use crate::needs;

/// The deadline of all operations.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// A running server, which is stopped when this is dropped.
pub(crate) struct Redis {
    process: Child,
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    arguments: Vec<OsString>,
}

impl Redis {
    /// Returns `None` and reports it if Redis is not installed.
    pub(crate) fn start() -> Option<Self> {
        Self::with(|_, _| Vec::new())
    }

    /// Starts a server with the arguments that `arguments` returns for its folder and port. They can override the port.
    pub(crate) fn with(arguments: impl Fn(&TempDir, u16) -> Vec<OsString>) -> Option<Self> {
        if !(needs::has("redis-server") && needs::has("redis-cli")) {
            needs::missing("redis-server", "apt-get install redis-server");
            return None;
        }
        // Another process may bind the port first.
        for _ in 0..10 {
            let (folder, port) = (TempDir::new().unwrap(), free_port());
            let mut server_arguments: Vec<OsString> = ["--port", &port.to_string()].map(OsString::from).to_vec();
            server_arguments.extend(arguments(&folder, port));
            if let Some(process) = run(&folder, &server_arguments) {
                return Some(Self { process, port, folder, arguments: server_arguments });
            }
        }
        panic!("redis-server does not start")
    }

    pub(crate) fn url(&self) -> Url {
        format!("redis://127.0.0.1:{}", self.port).parse().unwrap()
    }

    /// Kills the server. Its data are lost.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Restarts the server after a kill, on the same port.
    pub(crate) fn restart(&mut self) {
        self.process = run(&self.folder, &self.arguments).unwrap();
    }

    /// Suspends the server, which keeps its connections but does not respond.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Resumes the server.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Returns a command that runs `redis-cli` for this server.
    pub(crate) fn cli(&self) -> Command {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command
    }

    /// Returns the output of `redis-cli` with these arguments.
    pub(crate) fn run_cli(&self, arguments: &[&str]) -> String {
        let output = self.cli().args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a server until it is ready. Returns `None` if it exits instead.
fn run(folder: &TempDir, arguments: &[OsString]) -> Option<Child> {
    let mut process = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--rdbcompression", "no", "--dir"])
        .arg(folder.path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(process.stdout.take().unwrap());
    let (sender, receiver) = channel();
    // The output is read until the server exits, because the server would block when the pipe is full.
    std::thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    loop {
        match receiver.recv_timeout(TIMEOUT) {
            Ok(line) if line.contains("Ready to accept connections") => return Some(process),
            Ok(_) => {}
            Err(_) => {
                let _ = process.kill();
                let _ = process.wait();
                return None;
            }
        }
    }
}

/// Returns a free port. The port that is 10,000 higher is free, too: the bus of a cluster uses it.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 55_536 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}
