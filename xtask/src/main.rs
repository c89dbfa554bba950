//! The project's own tasks. `cargo xtask --help` lists them.

mod ci;
mod codegen;
mod conform;
mod process;
mod soak;
mod test;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own tasks")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs all tests that this machine can run, and says what it skipped.
    Test {
        /// Fails where a test would be skipped.
        #[arg(long)]
        all: bool,
    },
    /// Runs everything that continuous integration runs, and says how long each part took.
    Ci,
    /// Measures, and prints ratios: see docs/measurements.md.
    Bench {
        #[command(subcommand)]
        subject: Benchmark,
    },
    /// Repeats what can go wrong at any moment, thousands of times.
    Soak {
        #[command(subcommand)]
        subject: soak::Subject,
    },
    /// Writes the generated part of platform-api from openapi/platform.json.
    Codegen {
        /// Only compares with what is there; fails if it differs.
        #[arg(long)]
        check: bool,
        #[command(subcommand)]
        action: Option<Codegen>,
    },
    /// Compares openapi/platform.json with what the platform's own document means on the wire.
    Conform {
        /// The platform's own document; the facts that are kept of it, and its words, are compared with it too.
        #[arg(long, value_name = "FILE")]
        reference: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum Codegen {
    /// Takes the facts of a newer document of the platform, and says what has changed.
    Refresh {
        /// Where the document is.
        #[arg(long, value_name = "FILE|URL")]
        from: String,
    },
}

#[derive(Subcommand)]
enum Benchmark {
    /// What a token costs that is there already.
    Auth,
    /// What an answer costs that is kept, and a long list.
    Resources,
    /// A download of 2 GiB that is killed two hundred times.
    Torture,
    /// What a token costs that lies in Redis, beside a bare read.
    Redis,
    /// Downloads beside curl, aria2c and the official Python SDK.
    Download,
    /// How long the command takes to start.
    Command,
    /// How fast the emulator answers, and gives out a large object beside nginx.
    Emulator,
}

/// So many kills, bytes, bytes per second, bytes of a part, workers, and a seed.
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
        Task::Bench { subject: Benchmark::Download } => measure(&root, "python3", "download.py"),
        Task::Bench { subject: Benchmark::Command } => measure(&root, "python3", "command.py"),
        Task::Soak { subject } => soak::run(&root, subject),
        Task::Codegen { action: Some(Codegen::Refresh { from }), .. } => conform::refresh(&root, &from),
        Task::Codegen { check, action: None } => codegen::run(&root, check),
        Task::Conform { reference } => conform::run(&root, reference.as_deref()),
    }
}

/// Runs a program of `tests/benchmarks` with the command as others get it.
fn measure(root: &Path, interpreter: &str, program: &str) -> Result<()> {
    process::succeed(&mut process::cargo(root, &["build", "--release"]))?;
    let mut measure = Command::new(interpreter);
    measure.arg(Path::new("tests/benchmarks").join(program)).arg(root.join("target/release/aignostics"));
    process::succeed(measure.current_dir(root))
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
