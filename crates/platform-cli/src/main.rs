//! The `aignostics` command.

mod demo;
mod exit;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use exit::Failure;

/// What `--verbose` shows: the project's own steps, and no library's.
const VERBOSE: &str = "auth_core=debug,auth_http=debug,auth_oauth=debug,platform_download=debug,platform_emulator=debug,platform_resources=debug";

/// How long work that was given up may still take.
const LAST_WORK: Duration = Duration::from_secs(5);

#[derive(Parser)]
#[command(name = "aignostics", version, about = "The Aignostics Platform from a shell")]
struct Arguments {
    /// Says on stderr what is asked and answered.
    #[arg(long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Slides in, verified results out: the whole way, on a platform inside this process.
    Demo(demo::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::new(if arguments.verbose { VERBOSE } else { "off" });
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours).init();
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            // First, so that the signal is caught before anything is begun.
            biased;
            signal = tokio::signal::ctrl_c() => Err(signal.map_or_else(Failure::from, |()| Failure::interrupted())),
            outcome = dispatch(command) => outcome,
        }
    });
    // Lets what is being written come to its end and be deleted; a large file that is being read does not hold it up.
    runtime.shutdown_timeout(LAST_WORK);
    outcome
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(arguments) => demo::run(arguments).await,
    }
}
