//! `aignostics emulator`: the whole platform on loopback, until it is stopped or its command ends.

mod exec;
mod start;
mod variables;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use platform_emulator::Fault;

use crate::error::CliError;
use crate::output::print;
use crate::signals::Signals;

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Arguments {
    /// IP address to listen on; clients that can reach it have full control of the emulator
    #[arg(long, value_name = "IP", default_value_t = Ipv4Addr::LOCALHOST.into(), global = true)]
    address: IpAddr,
    /// Host name in all URLs [default: 127.0.0.1]
    #[arg(long, value_name = "NAME", global = true)]
    host: Option<String>,
    /// Port of the API; the identity provider and the storage use the next two [default: free ports]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, global = true)]
    port: u16,
    /// Folder for persistent data; its existing data is used
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Seed for ids and random choices, for reproducible tests
    #[arg(long, value_name = "N", global = true)]
    seed: Option<u64>,
    /// Processing speed relative to the platform; without it, processing takes no time
    #[arg(long, value_name = "X", global = true)]
    speed: Option<f64>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Issuer whose tokens are accepted too; --config must name audience and subjects
    #[arg(long, value_name = "URL", global = true)]
    issuer: Option<String>,
    /// Enable the control API: faults, journal, time, keys and tokens
    #[arg(long, global = true)]
    control: bool,
    /// Fault that is active from the start, as JSON; see docs/emulator.md. Can be repeated
    #[arg(long, value_name = "JSON", global = true)]
    fault: Vec<Fault>,
    /// Serve HTTPS, and write the emulator's CA certificate (PEM) to this file
    #[arg(long, value_name = "FILE", global = true)]
    tls: Option<PathBuf>,
    /// Users, runs and results to start with (JSON)
    #[arg(long, value_name = "FILE", global = true)]
    fixture: Option<PathBuf>,
    /// Announce the issuer in responses to logins (RFC 9207), and send it with them
    #[arg(long, global = true)]
    announce_iss: bool,
    /// Origin whose pages may send requests to all servers (CORS), or `*`. Can be repeated
    #[arg(long, value_name = "ORIGIN", global = true)]
    cors_origin: Vec<String>,
    /// Offer only HTTP/1.1, also over TLS
    #[arg(long, global = true)]
    no_http2: bool,
    /// Print environment variables for an SDK, one per line, followed by an empty line, instead of JSON
    #[arg(long)]
    print_env: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Run a command with the environment variables of the emulator, and exit with its exit code
    Exec {
        /// Command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Print the users, runs and results of a data folder as a fixture
    #[command(
        after_help = "The emulator must not run. Give the --config and --fixture with which it was started. The output is a file for --fixture. It contains the signed URLs of inputs: create a private file.\n\nExample:\n  (umask 077; aignostics emulator export --data-dir data > fixture.json)"
    )]
    Export,
}

impl Arguments {
    /// Returns true if a command runs with the emulator.
    pub(crate) fn runs_a_command(&self) -> bool {
        matches!(self.action, Some(Action::Exec { .. }))
    }
}

pub(crate) async fn run(arguments: Arguments, signals: &mut Signals) -> Result<(), CliError> {
    if arguments.print_env && arguments.action.is_some() {
        return Err(CliError::bad_input(anyhow!("--print-env cannot be combined with a subcommand")));
    }
    if let Some(Action::Export) = arguments.action {
        return start::export(&arguments).await;
    }
    let authority = arguments.tls.as_deref().map(absolute).transpose()?;
    let emulator = start::start(&arguments).await?;
    // The emulator's tokens are kept separate from the user's other logins, and do not outlive it.
    let logins = tempfile::Builder::new().prefix("aignostics-logins-").tempdir();
    let logins = logins.context("cannot create temporary files; set TMPDIR to another folder")?;
    let variables = variables::variables(&emulator, logins.path(), authority.as_deref()).await?;
    match arguments.action {
        Some(Action::Exec { command }) => exec::execute(&command, &variables, signals).await,
        Some(Action::Export) | None => {
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
fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(CliError::bad_input)
}
