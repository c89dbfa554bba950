//! `aignostics emulator`: the whole platform on loopback, until it is stopped or its command ends.

mod exec;
mod start;
mod variables;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use platform_emulator::Fault;

use crate::exit::Failure;
use crate::output::print;
use crate::signals::Signals;

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Arguments {
    /// Where to listen. Anybody who reaches the emulator can do everything with it.
    #[arg(long, value_name = "IP", default_value_t = Ipv4Addr::LOCALHOST.into(), global = true)]
    address: IpAddr,
    /// The name of the machine in all URLs; 127.0.0.1 unless something is said.
    #[arg(long, value_name = "NAME", global = true)]
    host: Option<String>,
    /// The port of the API; the identity provider and the storage get the next two. Free ones unless something is said.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, global = true)]
    port: u16,
    /// Keeps all data in this folder, and goes on with what is in it.
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Makes ids and what is left to chance the same every time.
    #[arg(long, value_name = "N", global = true)]
    seed: Option<u64>,
    /// How many times as fast as the platform an item is processed; without it nothing waits.
    #[arg(long, value_name = "X", global = true)]
    speed: Option<f64>,
    /// What the emulator has and how it behaves (TOML).
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Accepts the tokens of this provider too; the file of --config names audience and subjects.
    #[arg(long, value_name = "URL", global = true)]
    issuer: Option<String>,
    /// Opens the control routes: faults, a journal, time, keys and tokens.
    #[arg(long, global = true)]
    control: bool,
    /// Fault that is active from the start, as JSON: see docs/emulator.md. May be repeated.
    #[arg(long, value_name = "JSON", global = true)]
    fault: Vec<Fault>,
    /// Serve https; write the certificate of the emulator's own authority (PEM) to this file.
    #[arg(long, value_name = "FILE", global = true)]
    tls: Option<PathBuf>,
    /// Announce the issuer in responses to logins (RFC 9207), and send it with them
    #[arg(long, global = true)]
    announce_iss: bool,
    /// Origin whose pages may send requests to all servers (CORS), or `*`. May be repeated
    #[arg(long, value_name = "ORIGIN", global = true)]
    cors_origin: Vec<String>,
    /// Offer HTTP/1.1 only, also over TLS.
    #[arg(long, global = true)]
    no_http2: bool,
    /// Prints the variables that point an SDK at the emulator, one a line and then an empty line, instead of JSON.
    #[arg(long)]
    print_env: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Runs a command with the variables set, and ends with it and its exit code.
    Exec {
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
}

impl Arguments {
    /// Returns true if a command runs with the emulator.
    pub(crate) fn runs_a_command(&self) -> bool {
        self.action.is_some()
    }
}

pub(crate) async fn run(arguments: Arguments, signals: &mut Signals) -> Result<(), Failure> {
    if arguments.print_env && arguments.action.is_some() {
        return Err(Failure::bad_input(anyhow!("--print-env is for an emulator without a command in it")));
    }
    let authority = arguments.tls.as_deref().map(absolute).transpose()?;
    let emulator = start::start(&arguments).await?;
    // The emulator's tokens are kept separate from the user's other logins, and do not outlive it.
    let logins = tempfile::Builder::new().prefix("aignostics-logins-").tempdir();
    let logins = logins.context("there is no room for temporary files; TMPDIR can name another place")?;
    let variables = variables::variables(&emulator, logins.path(), authority.as_deref()).await?;
    match arguments.action {
        Some(Action::Exec { command }) => exec::execute(&command, &variables, signals).await,
        None => {
            let ready = if arguments.print_env {
                variables.iter().fold(String::new(), |lines, (name, value)| lines + &format!("{name}={value}\n"))
            } else {
                variables::ready(&emulator, authority.as_deref(), &variables).to_string()
            };
            print(ready)?;
            signals.end(std::future::pending()).await
        }
    }
}

/// Returns an absolute path, because processes may have other working folders.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(Failure::bad_input)
}
