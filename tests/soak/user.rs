//! A logged-in user with a separate folder.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use auth_http::{HttpClient, Request};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use url::Url;

use crate::aging;
use crate::emulator::Emulator;
use crate::kind::Program;
use crate::program;

/// The start of the line with the login URL.
const LOGIN_PREFIX: &str = "to log in, open ";

pub(crate) struct User {
    pub(crate) number: usize,
    pub(crate) emulator: Emulator,
    folder: TempDir,
    binary: PathBuf,
}

/// The result of a command that received no signal.
pub(crate) struct UndisturbedCommand {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

impl User {
    pub(crate) async fn start(number: usize, binary: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        Self { number, emulator: Emulator::start().await, folder, binary: binary.to_owned() }
    }

    /// Returns a command of the user, which is killed if it is dropped.
    fn command_for(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.folder.path()).env("TMPDIR", self.folder.path());
        command.env("AIGNOSTICS_CACHE_DIR", self.cache()).envs(self.emulator.variables());
        command.current_dir(self.folder.path()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    pub(crate) fn command(&self, selected_program: Program) -> Command {
        match selected_program {
            Program::Command(words) => {
                let mut command = self.command_for(&self.binary);
                command.args(words.split(' ')).args(["--verbose", "--format", "json"]);
                command
            }
            Program::Library(variant) => {
                let mut command = self.command_for(&std::env::current_exe().unwrap());
                command.env(program::VARIABLE, variant.name());
                command
            }
        }
    }

    /// Runs the command without disturbance.
    pub(crate) async fn run(&self, arguments: &[&str]) -> UndisturbedCommand {
        let output = self.command_for(&self.binary).args(arguments).output().await.unwrap();
        UndisturbedCommand { code: output.status.code(), stderr: String::from_utf8(output.stderr).unwrap() }
    }

    /// Refreshes the stored login. Returns false if a new login is required.
    pub(crate) async fn refresh(&self) -> bool {
        // No token is valid for an hour, so the login is refreshed.
        let ended = self.run(&["auth", "token", "--min-ttl", "1h", "--format", "json"]).await;
        ended.code != Some(4)
    }

    /// Logs in with a browser. The emulator responds automatically.
    pub(crate) async fn log_in(&self) {
        let mut login =
            self.command_for(&self.binary).args(["user", "login", "--no-browser", "--relogin"]).spawn().unwrap();
        let mut stderr = BufReader::new(login.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).await.unwrap();
        let http = HttpClient::builder().with_plain_loopback().build().unwrap();
        let url: Url = line.trim().strip_prefix(LOGIN_PREFIX).unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        let response = http.send(Request::get(url)).await.unwrap();
        let callback_url: Url = response.header("location").unwrap().parse().unwrap();
        assert_eq!(http.send(Request::get(callback_url)).await.unwrap().status(), 200);
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).await.unwrap();
        assert!(login.wait().await.unwrap().success(), "{rest}");
    }

    /// Lets time pass for the stored login, until its access token expires in `milliseconds`.
    pub(crate) fn expire_in(&self, milliseconds: u64) {
        aging::expire_in(&self.cache(), i64::try_from(milliseconds).unwrap());
    }
}
