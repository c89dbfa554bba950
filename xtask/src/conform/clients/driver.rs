//! Processes: the emulator of a client, and the driver that runs the operations.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::catalog::{Client, Emulator, Need};
use super::report::Operation;

const READY: &str = "AIGNOSTICS_EMULATOR_READY";
/// The document of the platform, which `tests/clients/document.py` reads.
const REFERENCE: &str = "../shared/openapi/1.8.0.changes.json";
/// The lists of pinned packages. Each peer has one of them.
const LOCKS: [&str; 2] = ["requirements.txt", "package-lock.json"];
/// The variables that programs inherit. Others could configure other servers, or contain credentials.
const INHERITED: [&str; 4] = ["HOME", "LANG", "PATH", "USER"];

/// The folders of a conformance run.
pub(super) struct Environment<'a> {
    pub(super) root: &'a Path,
    pub(super) tools: PathBuf,
    pub(super) logs: PathBuf,
}

/// A requirement that is not met.
pub(super) enum Missing {
    /// A package that `.ci/run` installs.
    Package(&'static str),
    /// The platform's own document, which cannot be installed.
    Reference,
}

/// A running emulator, which is stopped when dropped.
struct RunningEmulator {
    process: Child,
    ready: Value,
}

impl Drop for RunningEmulator {
    fn drop(&mut self) {
        // The process may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Environment<'_> {
    /// Returns a requirement of a client that this machine does not meet.
    pub(super) fn missing(&self, client: &Client) -> Option<Missing> {
        if !self.tools.join(client.peer).join(client.program).exists() || self.is_outdated(client.peer) {
            let name = if client.peer.is_empty() { client.name } else { client.peer };
            return Some(Missing::Package(name));
        }
        match client.needs {
            Some(Need::Program(name)) if !is_in_path(name) => Some(Missing::Package(name)),
            Some(Need::Peer(name)) if self.is_outdated(name) => Some(Missing::Package(name)),
            Some(Need::Reference) if !self.root.join(REFERENCE).exists() => Some(Missing::Reference),
            _ => None,
        }
    }

    /// Returns true if the installed packages of a peer differ from the pinned ones, or if none are installed.
    fn is_outdated(&self, peer: &str) -> bool {
        let read = |folder: &Path, lock: &str| fs::read(folder.join(peer).join(lock)).ok();
        let peers = self.root.join("tests/peers");
        LOCKS.iter().any(|lock| read(&peers, lock).is_some_and(|pinned| read(&self.tools, lock) != Some(pinned)))
    }

    /// Runs the driver of a client, and returns the operations that it reports.
    pub(super) fn operations(&self, client: &Client) -> Result<Vec<Operation>> {
        let folder = self.logs.join(client.name.replace([' ', ':'], "-"));
        let temporary = folder.join("temporary");
        if temporary.exists() {
            fs::remove_dir_all(&temporary)?;
        }
        fs::create_dir_all(&temporary)?;
        let config = folder.join("emulator.toml");
        fs::write(&config, client.config)?;
        let emulator = match client.emulator {
            Emulator::Exec => None,
            Emulator::Controlled => Some(self.start(&config, None)?),
            Emulator::Tls => Some(self.start(&config, Some(&folder.join("ca_certificate.pem")))?),
        };
        let mut command = self.driver(client, &config);
        if let Some(running) = &emulator {
            let variables = running.ready["env"].as_object().context("the ready line has no variables")?;
            command.envs(variables.iter().filter_map(|(name, value)| Some((name, value.as_str()?))));
            command.env(READY, running.ready.to_string());
        }
        command.current_dir(&temporary).env("TMPDIR", &temporary);
        let log = folder.join("log");
        let output = command.stderr(File::create(&log)?).stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("{} cannot be started", client.driver))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().filter(|line| line.starts_with("{\"operation\""));
        let operations = lines.map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
        let operations = operations.collect::<Result<Vec<_>>>()?;
        ensure!(output.status.success(), "{} failed: {}; see {}", client.driver, output.status, log.display());
        Ok(operations)
    }

    fn command(&self) -> PathBuf {
        self.root.join("target/debug/aignostics")
    }

    /// Returns the command that runs the driver of a client.
    fn driver(&self, client: &Client, config: &Path) -> Command {
        let program = self.tools.join(client.peer).join(client.program);
        let mut command = if client.emulator == Emulator::Exec {
            let mut command = Command::new(self.command());
            command.args(["emulator", "exec", "--config"]).arg(config).arg("--").arg(program);
            command
        } else {
            Command::new(program)
        };
        let placeholders = [("{command}", self.command()), ("{tools}", self.tools.clone())];
        let expand = |argument: &&str| {
            placeholders
                .iter()
                .fold((*argument).to_owned(), |text, (name, path)| text.replace(name, &path.to_string_lossy()))
        };
        command.arg(self.root.join("tests/clients").join(client.driver)).args(client.arguments.iter().map(expand));
        with_clean_environment(&mut command).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// Starts an emulator, and waits for its ready line.
    fn start(&self, config: &Path, ca_certificate: Option<&Path>) -> Result<RunningEmulator> {
        let mut command = Command::new(self.command());
        command.args(["emulator", "--control", "--seed", "1", "--config"]).arg(config);
        if let Some(file) = ca_certificate {
            command.arg("--tls").arg(file);
        }
        let process = with_clean_environment(&mut command).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut running =
            RunningEmulator { process: process.context("the emulator cannot be started")?, ready: Value::Null };
        let mut line = String::new();
        let output = running.process.stdout.take().context("the emulator has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        running.ready = serde_json::from_str(&line).context("the emulator is not ready")?;
        Ok(running)
    }
}

/// Removes all variables except the inherited ones.
fn with_clean_environment(command: &mut Command) -> &mut Command {
    let inherited = INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.env_clear().envs(inherited)
}

fn is_in_path(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}
