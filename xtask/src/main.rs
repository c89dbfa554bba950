//! Development tasks. `cargo xtask --help` lists them.

mod ci;
mod codegen;
mod conform;
mod modules;
mod process;
mod soak;
mod test;
mod wording;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks of the project")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run all tests that this machine can run, and list the skipped ones
    Test {
        /// Fail if a test would be skipped
        #[arg(long)]
        all: bool,
    },
    /// Run all gates of continuous integration, and print their durations
    Ci,
    /// Run a benchmark: see docs/measurements.md
    Bench {
        #[command(subcommand)]
        subject: Benchmark,
    },
    /// Run a soak test
    Soak {
        #[command(subcommand)]
        subject: soak::Subject,
    },
    /// Find phrases that are hard to read in comments, messages and documents
    Wording,
    /// Find circles between the modules of a crate
    Modules,
    /// Generate the code of platform-api from openapi/platform.json
    Codegen {
        /// Only check that the generated code is up to date
        #[arg(long)]
        check: bool,
        #[command(subcommand)]
        action: Option<Codegen>,
    },
    /// Compare openapi/platform.json with the facts of the platform's own document, or clients with docs/conformance.md
    Conform {
        /// The platform's own document. The stored facts are compared with it, and the descriptions must differ from its own
        #[arg(long, value_name = "FILE", conflicts_with = "clients")]
        reference: Option<PathBuf>,
        /// Run official and common clients against the emulator, and compare the results with docs/conformance.md
        #[arg(long)]
        clients: bool,
        /// Fail if a client is not installed
        #[arg(long, requires = "clients")]
        all: bool,
        /// Write the results to docs/conformance.md
        #[arg(long, requires = "clients")]
        write: bool,
        /// Run the clients whose name contains a text
        #[arg(long, value_name = "TEXT", requires = "clients")]
        only: Option<String>,
    },
}

#[derive(Subcommand)]
enum Codegen {
    /// Import the facts of a newer document of the platform, and print the changes
    Refresh {
        /// The document
        #[arg(long, value_name = "FILE|URL")]
        from: String,
    },
}

#[derive(Subcommand)]
enum Benchmark {
    /// The cost of a cached token
    Auth,
    /// The cost of a cached response, and of a long list
    Resources,
    /// A download of 2 GiB that is killed 200 times
    Torture,
    /// The cost of a token in Redis, compared with a plain read
    Redis,
    /// Downloads, compared with curl, aria2c and the official Python SDK
    Download,
    /// Downloads with ready URLs from nginx, plain and over TLS, with delays, compared with curl, aria2c, rclone and the
    /// official Python SDK
    Transfer,
    /// The startup time of the command
    Command,
    /// The throughput of the emulator, compared with nginx for a large object
    Emulator,
}

/// The options of the torture test: kills, bytes, bytes per second, bytes per part, workers, and the seed.
const TORTURE: [u64; 6] = [200, 2 << 30, 256 << 20, 8 << 20, 8, 46];

fn main() -> Result<()> {
    let root = root();
    match Arguments::parse().task {
        Task::Test { all } => test::run(&root, all),
        Task::Ci => ci::run(&root),
        Task::Bench { subject: Benchmark::Auth } => {
            process::succeed(&mut process::cargo(&root, &["bench", "--package", "auth-core", "--bench", "token"]))
        }
        Task::Bench { subject: Benchmark::Resources } => process::succeed(&mut process::cargo(
            &root,
            &["bench", "--package", "platform-resources", "--bench", "resources"],
        )),
        Task::Bench { subject: Benchmark::Torture } => {
            let test = ["test", "--release", "--package", "platform-download", "--test", "kills", "--"];
            process::succeed(process::cargo(&root, &test).args(TORTURE.map(|number| number.to_string())))
        }
        Task::Bench { subject: Benchmark::Redis } => {
            process::succeed(&mut process::cargo(&root, &["bench", "--package", "auth-redis", "--bench", "redis"]))
        }
        Task::Bench { subject: Benchmark::Emulator } => measure(&root, "bash", "emulator.sh"),
        Task::Bench { subject: Benchmark::Transfer } => transfer(&root),
        Task::Bench { subject: Benchmark::Download } => measure(&root, "python3", "download.py"),
        Task::Bench { subject: Benchmark::Command } => measure(&root, "python3", "command.py"),
        Task::Soak { subject } => soak::run(&root, subject),
        Task::Codegen { action: Some(Codegen::Refresh { from }), .. } => conform::refresh(&root, &from),
        Task::Wording => wording::run(&root),
        Task::Modules => modules::run(&root),
        Task::Codegen { check, action: None } => codegen::run(&root, check),
        Task::Conform { clients: true, all, write, only, .. } => {
            conform::clients::run(&root, conform::clients::Options { all, write, only: only.as_deref() })
        }
        Task::Conform { reference, .. } => conform::run(&root, reference.as_deref()),
    }
}

/// Runs a program of `tests/benchmarks` with the release build of the command.
fn measure(root: &Path, interpreter: &str, program: &str) -> Result<()> {
    process::succeed(&mut process::cargo(root, &["build", "--release"]))?;
    let mut measure = Command::new(interpreter);
    measure.arg(Path::new("tests/benchmarks").join(program)).arg(root.join("target/release/aignostics"));
    process::succeed(measure.current_dir(root))
}

/// Compares a user of the library with other programs.
fn transfer(root: &Path) -> Result<()> {
    process::succeed(&mut process::cargo(root, &["build", "--release", "--package", "transfer"]))?;
    let mut compare = Command::new("python3");
    compare.arg("tests/benchmarks/transfer.py").arg(root.join("target/release/transfer"));
    process::succeed(compare.current_dir(root))
}

/// Returns the folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
