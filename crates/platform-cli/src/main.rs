//! The `aignostics` command.

mod auth;
mod demo;
mod emulator;
mod exit;
mod shown;
mod signals;
mod user;

use std::env;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use exit::Failure;
use signals::Signals;

/// What `--verbose` shows: the project's own steps, and no library's.
const VERBOSE: &str = "aignostics=debug,auth_core=debug,auth_http=debug,auth_oauth=debug,platform_download=debug,platform_emulator=debug,platform_resources=debug";
/// How long work that was given up may still take, and clean up after itself.
const LAST_WORK: Duration = Duration::from_secs(5);

#[derive(Parser)]
#[command(name = "aignostics", version, about = "The Aignostics Platform from a shell")]
#[command(
    after_help = "Exit codes: 0 done, 1 failure, 2 bad input, 4 login required or refused, 6 some items or artifacts failed, 130 interrupted, 143 terminated."
)]
struct Arguments {
    /// Says on stderr what is asked and answered.
    #[arg(long, global = true)]
    verbose: bool,
    #[command(flatten)]
    access: user::Access,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Slides in, verified results out: the whole way, on a platform inside this process.
    Demo(demo::Arguments),
    /// Logs in and out, and says who is logged in.
    #[command(subcommand, alias = "platform")]
    User(user::Action),
    /// The token of the login, for other tools.
    #[command(subcommand)]
    Auth(auth::Action),
    /// The whole platform on loopback, for tests: identity provider, API and storage.
    Emulator(emulator::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log(arguments.verbose);
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn log(verbose: bool) {
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let filter = EnvFilter::new(if verbose {
        VERBOSE
    } else {
        "auth_core=warn,auth_oauth=warn,platform_emulator=warn,platform_resources=warn"
    });
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours);
    // Whoever closed stderr does not want to hear of that either.
    log.log_internal_errors(false).init();
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(async { dispatch(arguments, Signals::catch()?).await });
    runtime.shutdown_timeout(LAST_WORK);
    outcome
}

async fn dispatch(Arguments { verbose, access, command }: Arguments, signals: Signals) -> Result<(), Failure> {
    match command {
        Command::Demo(arguments) => signals.end(Box::pin(demo::run(arguments, verbose))).await,
        Command::User(action) => user::run(action, &access, signals).await,
        Command::Auth(action) => auth::run(action, &access, signals).await,
        Command::Emulator(arguments) => emulator::run(arguments, signals).await,
    }
}
