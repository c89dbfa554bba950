//! Development tasks. `cargo xtask --help` lists them.

mod ci;
mod codegen;
mod conform;
mod dist;
mod docs;
mod exposed;
mod modules;
mod packed;
mod process;
mod readmes;
mod soak;
mod test;
mod thin;
mod windows;
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
        /// Fail if a test is skipped
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
    /// Write the README of each library crate from its documentation
    Readmes {
        /// Only check that the files are up to date
        #[arg(long)]
        check: bool,
    },
    /// Build the documentation site: target/docs/site
    Docs {
        /// Include the documentation of the crates
        #[arg(long)]
        api: bool,
    },
    /// Build the artifacts of a release, and run the command from each of them: target/dist
    Dist(dist::Options),
    /// Find phrases that are hard to read in comments, messages and documents
    Wording,
    /// Find cycles between the modules of a crate
    Modules,
    /// List the types of other packages in the public API of each library
    Exposed,
    /// Pack the crates, and compile them from their .crate files
    Packed,
    /// Check the code for Windows, and run tests of file operations in Wine
    Windows,
    /// Find logic in the command that belongs to a library
    Thin,
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

/// The options of the torture test: kills, bytes, bytes per second, bytes per part, workers, and seed.
const TORTURE: [u64; 6] = [200, 2 << 30, 256 << 20, 8 << 20, 8, 46];

fn main() -> Result<()> {
    let root = root();
    match Arguments::parse().task {
        Task::Test { all } => test::run(&root, all),
        Task::Ci => ci::run(&root),
        Task::Bench { subject: Benchmark::Auth } => process::run_command(&mut process::cargo(
            &root,
            &["bench", "--package", "aignostics-auth-core", "--bench", "token"],
        )),
        Task::Bench { subject: Benchmark::Resources } => process::run_command(&mut process::cargo(
            &root,
            &["bench", "--package", "aignostics-platform-resources", "--bench", "resources"],
        )),
        Task::Bench { subject: Benchmark::Torture } => {
            let test = ["test", "--release", "--package", "aignostics-platform-download", "--test", "kills", "--"];
            process::run_command(process::cargo(&root, &test).args(TORTURE.map(|number| number.to_string())))
        }
        Task::Bench { subject: Benchmark::Redis } => process::run_command(&mut process::cargo(
            &root,
            &["bench", "--package", "aignostics-auth-redis", "--bench", "redis"],
        )),
        Task::Bench { subject: Benchmark::Emulator } => run_benchmark(&root, "bash", "emulator.sh"),
        Task::Bench { subject: Benchmark::Transfer } => run_transfer_benchmark(&root),
        Task::Bench { subject: Benchmark::Download } => run_benchmark(&root, "python3", "download.py"),
        Task::Bench { subject: Benchmark::Command } => run_benchmark(&root, "python3", "command.py"),
        Task::Soak { subject } => soak::run(&root, subject),
        Task::Codegen { action: Some(Codegen::Refresh { from }), .. } => conform::refresh(&root, &from),
        Task::Readmes { check } => readmes::run(&root, check),
        Task::Docs { api } => docs::run(&root, api),
        Task::Dist(options) => dist::run(&root, &options),
        Task::Wording => wording::run(&root),
        Task::Modules => modules::run(&root),
        Task::Exposed => exposed::run(&root),
        Task::Packed => packed::run(&root),
        Task::Windows => windows::run(&root, true),
        Task::Thin => thin::run(&root),
        Task::Codegen { check, action: None } => codegen::run(&root, check),
        Task::Conform { clients: true, all, write, only, .. } => {
            conform::clients::run(&root, conform::clients::Options { all, write, only: only.as_deref() })
        }
        Task::Conform { reference, .. } => conform::run(&root, reference.as_deref()),
    }
}

/// Runs a program of `tests/benchmarks` with the release build of the command.
fn run_benchmark(root: &Path, interpreter: &str, program: &str) -> Result<()> {
    process::run_command(&mut process::cargo(root, &["build", "--release"]))?;
    let mut benchmark = Command::new(interpreter);
    benchmark.arg(Path::new("tests/benchmarks").join(program)).arg(root.join("target/release/aignostics"));
    process::run_command(benchmark.current_dir(root))
}

/// Compares a program that uses the library with other download programs.
fn run_transfer_benchmark(root: &Path) -> Result<()> {
    process::run_command(&mut process::cargo(root, &["build", "--release", "--package", "transfer"]))?;
    let mut compare = Command::new("python3");
    compare.arg("tests/benchmarks/transfer.py").arg(root.join("target/release/transfer"));
    process::run_command(compare.current_dir(root))
}

/// Returns the folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
