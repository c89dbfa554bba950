//! `cargo xtask soak`: tests with a size and a seed, for longer runs than those of `cargo xtask test`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;

use crate::process::{cargo, succeed};

#[derive(Subcommand)]
pub(crate) enum Subject {
    /// Run commands that end in every way while a login is refreshed
    ///
    /// Four users run four commands each at the same time. Some commands succeed, others reach their timeout, get a signal, or
    /// find their output closed. Fails if a login is lost or an exit code is unexpected.
    Logins {
        /// Number of commands
        #[arg(long, value_name = "N", default_value_t = 2_000)]
        commands: u32,
        /// Seed of kinds, moments and delays
        #[arg(long, value_name = "S", default_value_t = 46)]
        seed: u64,
        /// Send SIGKILL too; logins that it costs are counted separately and allowed
        #[arg(long)]
        sigkill: bool,
        /// Command to run instead of the one built from this source
        #[arg(long, value_name = "FILE")]
        binary: Option<PathBuf>,
        /// Build with optimizations
        #[arg(long)]
        release: bool,
    },
}

pub(crate) fn run(root: &Path, subject: Subject) -> Result<()> {
    let Subject::Logins { commands, seed, sigkill, binary, release } = subject;
    let profile: &[&str] = if release { &["--release"] } else { &[] };
    let mut test = cargo(root, &[&["test", "--package", "platform-cli", "--test", "soak"], profile].concat());
    test.env("AIGNOSTICS_SOAK_COMMANDS", commands.to_string()).env("AIGNOSTICS_SOAK_SEED", seed.to_string());
    test.env_remove("AIGNOSTICS_SOAK_SIGKILL").env_remove("AIGNOSTICS_SOAK_BINARY");
    if sigkill {
        test.env("AIGNOSTICS_SOAK_SIGKILL", "1");
    }
    if let Some(binary) = binary {
        // Cargo runs tests in the folder of their package.
        let path = binary.canonicalize().with_context(|| format!("cannot find '{}'", binary.display()))?;
        test.env("AIGNOSTICS_SOAK_BINARY", path);
    }
    succeed(&mut test)
}
