//! `aignostics emulator`: the whole platform on loopback, until it is stopped or its command ends.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use platform_emulator::{Config, Emulator, EmulatorBuilder, Fault, Fixture};
use platform_resources::Settings;
use terminal::{Output, Signals, child, print, print_json};
use tokio::process::Command;

use crate::error::CliError;

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
    /// Returns true if a child command runs with the emulator.
    pub(crate) fn has_child(&self) -> bool {
        matches!(self.action, Some(Action::Exec { .. }))
    }
}

pub(crate) async fn run(arguments: Arguments, (output, signals): (&Output, &mut Signals)) -> Result<(), CliError> {
    if arguments.print_env && arguments.action.is_some() {
        return Err(CliError::bad_input(anyhow!("--print-env cannot be combined with a subcommand")));
    }
    if let Some(Action::Export) = arguments.action {
        return export(&arguments).await;
    }
    // Other processes may have another working folder.
    let ca_certificate = arguments.tls.as_deref().map(std::path::absolute).transpose().map_err(CliError::bad_input)?;
    let emulator = builder(&arguments)?.start().await.map_err(start_error)?;
    // The logins of the emulator are separate from those of the user, and are deleted when it ends.
    let logins = tempfile::Builder::new().prefix("aignostics-logins-").tempdir();
    let logins = logins.context("cannot create temporary files; set TMPDIR to another folder")?;
    let variables = emulator.environment(logins.path(), ca_certificate.as_deref()).await?;
    match arguments.action {
        Some(Action::Exec { command }) => {
            let user = emulator.config().users.first().map_or("", |user| &user.email);
            output.note(format!("emulator: runs at {}, user {user}; nothing is billed", emulator.api_root()));
            child::run(child_command(&command, &variables)?, signals).await
        }
        Some(Action::Export) | None => {
            let startup_text = if arguments.print_env {
                variables.iter().fold(String::new(), |lines, (name, value)| lines + &format!("{name}={value}\n"))
            } else {
                emulator.description(ca_certificate.as_deref(), &variables).to_string()
            };
            print(startup_text)?;
            Err(CliError::signal(signals.next().await))
        }
    }
}

/// Returns a command with the variables of the emulator. The credential, the profile and other secrets of the caller
/// are removed, because they belong to another platform.
fn child_command(command: &[OsString], variables: &[(&'static str, String)]) -> Result<Command, CliError> {
    let (program, arguments) = command.split_first().context("the command is missing")?;
    let mut child = Command::new(program);
    Settings::remove_credentials(child.as_std_mut());
    child.args(arguments).envs(variables.iter().map(|(name, value)| (*name, value)));
    Ok(child)
}

/// Prints the fixture of a data folder.
async fn export(arguments: &Arguments) -> Result<(), CliError> {
    if arguments.data_dir.is_none() {
        return Err(CliError::bad_input(anyhow!("export needs --data-dir")));
    }
    let fixture = builder(arguments)?.export().await.map_err(start_error)?;
    Ok(print_json(&fixture, true)?)
}

fn start_error(error: io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::InvalidInput => CliError::bad_input(error),
        _ => anyhow::Error::from(error).context("cannot start the emulator").into(),
    }
}

fn builder(arguments: &Arguments) -> Result<EmulatorBuilder, CliError> {
    let config = arguments.config.as_deref().map(Config::read).transpose().map_err(CliError::bad_input)?;
    let mut config = config.unwrap_or_default();
    config.speed = arguments.speed.unwrap_or(config.speed);
    config.announce_iss |= arguments.announce_iss;
    config.cors_origins.extend(arguments.cors_origin.iter().cloned());
    if let Some(issuer) = &arguments.issuer {
        let missing = || anyhow!("--issuer requires --config with a table [external_issuer] (audience and subjects)");
        let external_issuer = config.external_issuer.as_mut().ok_or_else(|| CliError::bad_input(missing()))?;
        external_issuer.issuer.clone_from(issuer);
    }
    let fixture = arguments.fixture.as_deref().map(Fixture::read).transpose().map_err(CliError::bad_input)?;
    let builder = Emulator::builder().with_config(config).with_address(arguments.address).with_port(arguments.port);
    let builder = arguments.host.iter().fold(builder, EmulatorBuilder::with_host);
    let builder = arguments.data_dir.iter().fold(builder, EmulatorBuilder::with_data_folder);
    let builder = arguments.seed.into_iter().fold(builder, EmulatorBuilder::with_seed);
    let builder = arguments.tls.iter().fold(builder, EmulatorBuilder::with_tls);
    let builder = fixture.into_iter().fold(builder, EmulatorBuilder::with_fixture);
    let builder = if arguments.control { builder.with_control() } else { builder };
    let builder = if arguments.no_http2 { builder.without_http2() } else { builder };
    Ok(arguments.fault.iter().cloned().fold(builder, EmulatorBuilder::with_fault))
}
