//! `cargo xtask soak`: runs tests with a size and a seed for longer than `cargo xtask test`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Subcommand;

use crate::process::{cargo, run_command};

#[derive(Subcommand)]
pub(crate) enum Subject {
    /// Run commands that end in different ways while a login is refreshed
    ///
    /// Four users run four commands each at the same time. Some commands succeed, others reach their timeout, get a signal, or
    /// find their output closed. Fails if a login is lost or an exit code is unexpected.
    Logins {
        /// Number of commands
        #[arg(long, value_name = "N", default_value_t = 2_000)]
        commands: u32,
        /// Seed for the kinds, times and delays of the commands
        #[arg(long, value_name = "S", default_value_t = 46)]
        seed: u64,
        /// Send SIGKILL too; logins that are lost after it are counted separately and allowed
        #[arg(long)]
        sigkill: bool,
        /// Command to run instead of the one built from this source
        #[arg(long, value_name = "FILE")]
        binary: Option<PathBuf>,
        /// Build with optimizations
        #[arg(long)]
        release: bool,
    },
    /// Share the token of a command among 500 processes, and again after it is revoked
    ///
    /// Fails if the command runs more than once for each token.
    Credentials {
        /// Number of processes for each token
        #[arg(long, value_name = "N", default_value_t = 500)]
        processes: u32,
        /// Number of processes at a time
        #[arg(long, value_name = "N", default_value_t = 50)]
        parallel: u32,
        /// Build with optimizations
        #[arg(long)]
        release: bool,
    },
    /// Download 2,000 files through outages of 6 s, 60 s and 10 min
    ///
    /// The API, the storage and the identity provider each respond with 503, reset connections, stall, and lose their
    /// name. Fails if a file is not downloaded. Takes about an hour.
    Outages {
        /// Number by which all times and limits are divided
        #[arg(long, value_name = "N", default_value_t = 1)]
        divisor: u32,
        /// Number of files in each download
        #[arg(long, value_name = "N", default_value_t = 2_000)]
        files: u32,
        /// Number of outages at a time
        #[arg(long, value_name = "N", default_value_t = 4)]
        parallel: u32,
        /// Build with optimizations
        #[arg(long)]
        release: bool,
    },
    /// Download 2 GiB while processes are killed and disks fail, and 100,000 items
    ///
    /// Each fault occurs in a separate process, which resumes the download. Fails if a file is wrong at any moment, if more than
    /// one part per worker is requested again for each fault, or if the command needs more memory for the items than allowed.
    Downloads {
        /// Total size of the files, in MiB
        #[arg(long, value_name = "N", default_value_t = 2048)]
        mib: u32,
        /// Number of SIGKILLs
        #[arg(long, value_name = "N", default_value_t = 200)]
        kills: u32,
        /// Number of I/O errors (EIO)
        #[arg(long, value_name = "N", default_value_t = 200)]
        io_errors: u32,
        /// Number of full disks (ENOSPC)
        #[arg(long, value_name = "N", default_value_t = 60)]
        full_disks: u32,
        /// Number of items in the download of many items
        #[arg(long, value_name = "N", default_value_t = 100_000)]
        items: u32,
        /// Seed for the operations and times of the faults
        #[arg(long, value_name = "S", default_value_t = 51)]
        seed: u64,
        /// Build with optimizations; implied by more than 10,000 items, because the memory limit applies to such a build
        #[arg(long)]
        release: bool,
    },
    /// Upload 10 files of 256 MiB while processes are killed and the storage fails
    ///
    /// Each process continues the upload of the one before. Fails if an object is wrong, or if more than one part per worker is sent
    /// again for each kill.
    Uploads {
        /// Number of files
        #[arg(long, value_name = "N", default_value_t = 10)]
        files: u32,
        /// Size of each file, in MiB
        #[arg(long, value_name = "N", default_value_t = 256)]
        mib: u32,
        /// Number of SIGKILLs
        #[arg(long, value_name = "N", default_value_t = 60)]
        kills: u32,
        /// Seed for the times and faults
        #[arg(long, value_name = "S", default_value_t = 28)]
        seed: u64,
        /// Build with optimizations
        #[arg(long)]
        release: bool,
    },
}

/// The end-to-end test that `soak credentials` runs.
const CREDENTIALS_TEST: &str = "credential_commands::processes_share_the_token_of_a_command_until_it_is_revoked";

pub(crate) fn run(root: &Path, subject: Subject) -> Result<()> {
    match subject {
        Subject::Logins { commands, seed, sigkill, binary, release } => {
            run_logins(test_command(root, "soak", release), commands, seed, sigkill, binary)
        }
        Subject::Credentials { processes, parallel, release } => {
            let mut test = test_command(root, "end-to-end", release);
            test.args(["--", "--exact", CREDENTIALS_TEST]);
            test.env("AIGNOSTICS_CREDENTIALS_PROCESSES", processes.to_string());
            test.env("AIGNOSTICS_CREDENTIALS_PARALLEL", parallel.to_string());
            run_command(&mut test)
        }
        Subject::Outages { divisor, files, parallel, release } => {
            let mut test = test_command(root, "outages", release);
            test.env("AIGNOSTICS_OUTAGES_DIVISOR", divisor.to_string());
            test.env("AIGNOSTICS_OUTAGES_FILES", files.to_string());
            test.env("AIGNOSTICS_OUTAGES_PARALLEL", parallel.to_string());
            run_command(&mut test)
        }
        Subject::Downloads { mib, kills, io_errors, full_disks, items, seed, release } => {
            let mut test = test_command(root, "downloads", release || items > 10_000);
            for (name, number) in [
                ("MIB", mib.into()),
                ("KILLS", kills.into()),
                ("IO_ERRORS", io_errors.into()),
                ("FULL_DISKS", full_disks.into()),
                ("ITEMS", items.into()),
                ("SEED", seed),
            ] {
                test.env(format!("AIGNOSTICS_DOWNLOADS_{name}"), u64::to_string(&number));
            }
            run_command(&mut test)
        }
        Subject::Uploads { files, mib, kills, seed, release } => {
            let mut test = test_command(root, "uploads", release);
            for (name, number) in
                [("FILES", files.into()), ("MIB", mib.into()), ("KILLS", kills.into()), ("SEED", seed)]
            {
                test.env(format!("AIGNOSTICS_UPLOADS_{name}"), u64::to_string(&number));
            }
            run_command(&mut test)
        }
    }
}

/// Returns the command that runs a test. Environment variables set its size.
fn test_command(root: &Path, name: &str, release: bool) -> Command {
    let profile: &[&str] = if release { &["--release"] } else { &[] };
    cargo(root, &[&["test", "--package", "aignostics-cli", "--test", name], profile].concat())
}

fn run_logins(mut test: Command, commands: u32, seed: u64, sigkill: bool, binary: Option<PathBuf>) -> Result<()> {
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
    run_command(&mut test)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_of_the_credentials_exists() {
        let (module, test) = CREDENTIALS_TEST.split_once("::").unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/end-to-end/{module}.rs"));
        assert!(std::fs::read_to_string(file).unwrap().contains(&format!("fn {test}()")));
    }
}
