//! A running proxy.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use auth_core::Secret;
use auth_http::Proxy;
use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{interval, timeout};
use url::Url;

use crate::needs;
use crate::program::{PASSWORD, Program, USER};

/// The maximum time until a proxy accepts connections. A Python program starts slowly on a busy machine.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);
/// The interval between attempts to connect.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A proxy with its own folder, on a port of 127.0.0.1. It is stopped when this is dropped.
pub(crate) struct RunningProxy {
    program: Program,
    folder: TempDir,
    port: u16,
    /// A bound socket that does not listen, so that the kernel assigns the port to no other process. Linux still allows
    /// the program to listen on the port, so only the program accepts connections.
    _reserved: TcpSocket,
    child: Option<Child>,
}

impl RunningProxy {
    /// Starts a proxy. Returns `None` and reports it if the program is not installed.
    pub(crate) async fn start(program: Program) -> Option<Self> {
        if !program.files.iter().all(|file| needs::has(file)) {
            needs::missing(program.name(), program.remedy);
            return None;
        }
        let reserved = TcpSocket::new_v4().unwrap();
        reserved.set_reuseaddr(true).unwrap();
        reserved.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = reserved.local_addr().unwrap().port();
        let folder = TempDir::new().unwrap();
        let mut running = Self { program, folder, port, _reserved: reserved, child: None };
        running.run().await;
        Some(running)
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            (self.program.tidy)(self.port);
        }
    }

    /// Restarts the proxy on the same port.
    pub(crate) async fn restart(&mut self) {
        self.stop();
        self.run().await;
    }

    pub(crate) fn name(&self) -> &'static str {
        self.program.name()
    }

    pub(crate) fn refusal(&self) -> Option<u16> {
        self.program.refusal
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the name of the proxy in errors.
    pub(crate) fn shown(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> Url {
        self.shown().parse().unwrap()
    }

    pub(crate) fn url_with(&self, password: &str) -> Url {
        format!("http://{USER}:{password}@127.0.0.1:{}", self.port).parse().unwrap()
    }

    /// Returns the proxy with its password.
    pub(crate) fn proxy(&self) -> Proxy {
        self.proxy_with(PASSWORD)
    }

    pub(crate) fn proxy_with(&self, password: &str) -> Proxy {
        Proxy::new(self.url()).with_credentials(USER, Secret::new(password))
    }

    /// Starts the program, and waits until it accepts connections.
    async fn run(&mut self) {
        let output = File::create(self.file("output")).unwrap();
        let mut command = (self.program.command)(self.folder.path(), self.port);
        // The program gets no environment of the tests, and no files in other folders.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.folder.path()).env("TMPDIR", self.folder.path());
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let child = self.child.insert(command.spawn().unwrap());
        let mut poll_timer = interval(POLL_INTERVAL);
        let startup = async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                if let Some(status) = child.try_wait().unwrap() {
                    return Err(status);
                }
                poll_timer.tick().await;
            }
            Ok(())
        };
        let startup = timeout(STARTUP_TIMEOUT, startup).await;
        assert!(matches!(startup, Ok(Ok(()))), "{} does not start ({startup:?}): {}", self.name(), self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("output")).unwrap_or_default()
    }
}

impl Drop for RunningProxy {
    fn drop(&mut self) {
        self.stop();
    }
}
