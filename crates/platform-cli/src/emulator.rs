//! `aignostics emulator`: the whole platform on loopback, until it is stopped or its command ends.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use platform_emulator::{Config, Emulator, EmulatorBuilder, Fault};
use serde_json::json;
use tokio::process::Command;

use crate::exit::Failure;
use crate::output::print;
use crate::signals::Signals;

#[derive(Args)]
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
    let emulator = start(&arguments).await?;
    // The emulator's tokens are kept separate from the user's other logins, and do not outlive it.
    let logins = tempfile::Builder::new().prefix("aignostics-logins-").tempdir();
    let logins = logins.context("there is no room for temporary files; TMPDIR can name another place")?;
    let variables = variables(&emulator, logins.path(), authority.as_deref()).await?;
    match arguments.action {
        Some(Action::Exec { command }) => execute(&command, &variables, signals).await,
        None => {
            let ready = if arguments.print_env {
                variables.iter().fold(String::new(), |lines, (name, value)| lines + &format!("{name}={value}\n"))
            } else {
                ready(&emulator, authority.as_deref(), &variables).to_string()
            };
            print(ready)?;
            signals.end(std::future::pending()).await
        }
    }
}

async fn start(arguments: &Arguments) -> Result<Emulator, Failure> {
    let mut config = match &arguments.config {
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()));
            let config = text.and_then(|text| Ok(toml::from_str::<Config>(&text)?));
            let read = config.with_context(|| format!("{} is no configuration of the emulator", path.display()));
            read.map_err(Failure::bad_input)?
        }
        None => Config::default(),
    };
    if let Some(speed) = arguments.speed {
        config.speed = speed;
    }
    if let Some(issuer) = &arguments.issuer {
        let missing = || anyhow!("--issuer needs --config with a table [external_issuer]: audience and subjects");
        let trusted = config.external_issuer.as_mut().ok_or_else(|| Failure::bad_input(missing()))?;
        trusted.issuer.clone_from(issuer);
    }
    let mut builder = Emulator::builder().with_config(config).with_address(arguments.address).with_port(arguments.port);
    if let Some(host) = &arguments.host {
        builder = builder.with_host(host);
    }
    if let Some(folder) = &arguments.data_dir {
        builder = builder.with_data_folder(folder);
    }
    if let Some(seed) = arguments.seed {
        builder = builder.with_seed(seed);
    }
    if arguments.control {
        builder = builder.with_control();
    }
    if let Some(file) = &arguments.tls {
        builder = builder.with_tls(file);
    }
    if arguments.no_http2 {
        builder = builder.without_http2();
    }
    builder = arguments.fault.iter().cloned().fold(builder, EmulatorBuilder::with_fault);
    builder.start().await.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => Failure::bad_input(error),
        _ => anyhow::Error::from(error).context("the emulator could not be started").into(),
    })
}

/// Returns an absolute path, because processes may have other working folders.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(Failure::bad_input)
}

/// The variables that make common clients trust an authority: OpenSSL, curl and this command; Python; AWS tools.
const TRUST: [&str; 3] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"];

/// Returns the variables that direct a platform SDK to the emulator, as its first user.
async fn variables(
    emulator: &Emulator,
    logins: &Path,
    authority: Option<&Path>,
) -> Result<Vec<(&'static str, String)>, Failure> {
    let user = emulator.config().users.first().context("there is no user")?.id.clone();
    let refresh_token = emulator.refresh_token(&user).await?;
    let at = |path: &str| format!("{}{path}", emulator.issuer());
    let bare = |url: &str| url.trim_end_matches('/').to_owned();
    let mut variables = vec![
        ("AIGNOSTICS_API_ROOT", bare(emulator.api_root().as_str())),
        ("AIGNOSTICS_AUDIENCE", platform_emulator::AUDIENCE.to_owned()),
        ("AIGNOSTICS_SCOPE", "offline_access".to_owned()),
        ("AIGNOSTICS_AUTHORIZATION_BASE_URL", at("authorize")),
        ("AIGNOSTICS_TOKEN_URL", at("oauth/token")),
        ("AIGNOSTICS_DEVICE_URL", at("oauth/device/code")),
        ("AIGNOSTICS_JWS_JSON_URL", at(".well-known/jwks.json")),
        ("AIGNOSTICS_REDIRECT_URI", "http://localhost:8989/".to_owned()),
        ("AIGNOSTICS_CLIENT_ID_INTERACTIVE", platform_emulator::INTERACTIVE_CLIENT_ID.to_owned()),
        ("AIGNOSTICS_CLIENT_ID_DEVICE", platform_emulator::DEVICE_CLIENT_ID.to_owned()),
        ("AIGNOSTICS_REFRESH_TOKEN", refresh_token),
        ("AIGNOSTICS_CACHE_DIR", logins.display().to_string()),
        ("AIGNOSTICS_STATE_DIR", logins.join("state").display().to_string()),
        ("AIGNOSTICS_STATUS_PAGE_URL", bare(emulator.api_root().as_str())),
        ("AIGNOSTICS_BUCKET_PROTOCOL", "gs".to_owned()),
        ("AIGNOSTICS_BUCKET_REGION_NAME", platform_emulator::BUCKET_REGION.to_owned()),
        ("AIGNOSTICS_BUCKET_ENDPOINT", bare(emulator.storage().as_str())),
        ("AWS_ENDPOINT_URL_S3", bare(emulator.storage().as_str())),
    ];
    variables.extend(authority.iter().flat_map(|file| TRUST.map(|name| (name, file.display().to_string()))));
    Ok(variables)
}

/// Returns the ready line with all data that a client needs.
fn ready(emulator: &Emulator, authority: Option<&Path>, variables: &[(&str, String)]) -> serde_json::Value {
    let config = emulator.config();
    let users = config.users.iter().map(
        |user| json!({ "id": user.id, "email": user.email, "name": user.name, "organization": user.organization }),
    );
    let organizations =
        config.organizations.iter().map(|organization| json!({ "id": organization.id, "name": organization.name }));
    json!({
        "status": "ready",
        "api_root": emulator.api_root().as_str(),
        "issuer": emulator.issuer().as_str(),
        "storage": emulator.storage().as_str(),
        "ca_file": authority,
        "audience": platform_emulator::AUDIENCE,
        "client_ids": {
            "interactive": platform_emulator::INTERACTIVE_CLIENT_ID,
            "device": platform_emulator::DEVICE_CLIENT_ID,
            "machine": platform_emulator::MACHINE_CLIENT_ID,
        },
        "machine_client_secret": platform_emulator::MACHINE_CLIENT_SECRET,
        "users": users.collect::<Vec<_>>(),
        "organizations": organizations.collect::<Vec<_>>(),
        "control": emulator.control_token().map(|token| json!({ "url": format!("{}_control", emulator.api_root()), "token": token })),
        "env": variables.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<serde_json::Map<_, _>>(),
    })
}

/// Runs a command, forwards a signal to it, and waits for its end. A second signal kills it.
///
/// Without a terminal, the command and its children form a separate process group, which receives the signal. With a
/// terminal, they stay in its foreground group, which receives Ctrl-C and Ctrl-\ from the terminal itself.
async fn execute(
    command: &[OsString],
    variables: &[(&'static str, String)],
    signals: &mut Signals,
) -> Result<(), Failure> {
    let (program, arguments) = command.split_first().context("there is no command")?;
    let terminal = io::stdin().is_terminal();
    let mut prepared = Command::new(program);
    prepared.args(arguments).envs(variables.iter().map(|(name, value)| (*name, value))).kill_on_drop(true);
    #[cfg(unix)]
    if !terminal {
        prepared.process_group(0);
    }
    let mut child = prepared.spawn().map_err(|error| Failure::not_started(error, program))?;
    let id = child.id();
    let status = tokio::select! {
        status = child.wait() => status,
        number = signals.next() => {
            tell(id, number, terminal);
            tokio::select! {
                status = child.wait() => status,
                again = signals.next() => {
                    tell(id, KILL, terminal);
                    return Err(Failure::signal(again));
                }
            }
        }
    };
    let status = status.context("the command cannot be waited for")?;
    if status.success() { Ok(()) } else { Err(Failure::passed_on(status)) }
}

const KILL: u8 = 9;

/// Forwards a signal to a command and its process group, if it has its own.
#[cfg(unix)]
fn tell(child: Option<u32>, signal: u8, terminal: bool) {
    use rustix::process::{Pid, Signal, kill_process, kill_process_group};
    let child = child.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let (Some(child), Some(signal)) = (child, Signal::from_named_raw(signal.into())) else { return };
    // If it has ended, the error can be ignored.
    let _ = match signal {
        Signal::INT | Signal::QUIT if terminal => Ok(()),
        _ if terminal => kill_process(child, signal),
        _ => kill_process_group(child, signal),
    };
}

/// Does nothing, because the console signals all of its processes.
#[cfg(not(unix))]
fn tell(_child: Option<u32>, _signal: u8, _terminal: bool) {}
