//! A program that downloads files with the library, from URLs in a list. `cargo xtask bench transfer` compares it with
//! other programs.

mod delay;
mod download;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use platform_download::Crc32c;
use serde_json::json;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print a line of JSON for each file of a folder: its name, length and checksum
    List { folder: PathBuf },
    /// Download files into a folder
    Download(download::Arguments),
    /// Forward connections with a delay. Prints the port
    Delay {
        to: SocketAddr,
        /// Round-trip time
        milliseconds: u64,
        /// Maximum rate of a connection; 0 for none
        bytes_per_second: u64,
    },
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match Arguments::parse().action {
        Action::List { folder } => list(&folder),
        Action::Download(arguments) => runtime.block_on(download::run(&arguments)),
        Action::Delay { to, milliseconds, bytes_per_second } => {
            let round_trip = Duration::from_millis(milliseconds);
            runtime.block_on(delay::run(to, round_trip, bytes_per_second))
        }
    }
}

fn list(folder: &Path) -> Result<()> {
    let mut output = io::stdout().lock();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (mut file, mut block) = (File::open(entry.path())?, vec![0; 1 << 20]);
        let (mut bytes, mut crc32c) = (0, Crc32c::default());
        loop {
            let length = file.read(&mut block)?;
            if length == 0 {
                break;
            }
            bytes += length as u64;
            crc32c = crc32c.append(&block[..length]);
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        writeln!(output, "{}", json!({ "name": name, "bytes": bytes, "crc32c": crc32c }))?;
    }
    Ok(())
}
