//! The project's own tasks. `cargo xtask --help` lists them.

mod codegen;

use std::path::{Path, PathBuf};

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
    /// Writes the generated part of platform-api from openapi/platform.json.
    Codegen {
        /// Only compares with what is there; fails if it differs.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> Result<()> {
    let root = root();
    match Arguments::parse().task {
        Task::Codegen { check } => codegen::run(&root, check),
    }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
