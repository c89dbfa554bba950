//! A download that is killed repeatedly and resumes each time.
//!
//! Without arguments it takes a few seconds; `cargo xtask bench torture` runs it longer, and prints measurements.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and a measurement prints")]

mod child;
#[path = "../../../../tests/support/harness.rs"]
mod harness;
#[path = "../it/storage.rs"]
#[allow(dead_code, reason = "another test uses more of it")]
mod storage;

use std::collections::HashMap;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use auth_http::{HttpClient, Method, Request};
use bytes::Bytes;
use futures_util::stream;
use platform_download::Crc32c;
use platform_emulator::{Effect, Fault, Server};
use serde::{Deserialize, Serialize};
use storage::Storage;
use tempfile::TempDir;
use url::Url;

fn http() -> HttpClient {
    HttpClient::builder().with_plain_loopback().without_decompression().build().unwrap()
}

/// The amount of data, the number of kills, and the limits of the download.
#[derive(Clone, Copy)]
struct Plan {
    kills: u64,
    bytes: u64,
    /// The total rate of all connections.
    bytes_per_second: u64,
    chunk: u64,
    workers: u64,
    seed: u64,
}

const FILES: u64 = 50;
const BLOCK: u64 = 1 << 20;

/// A file to download, as sent to the child process.
#[derive(Clone, Deserialize, Serialize)]
struct Wanted {
    name: String,
    url: String,
    bytes: u64,
    crc32c: Crc32c,
}

/// The orders for the child process.
#[derive(Deserialize, Serialize)]
struct Orders {
    files: Vec<Wanted>,
    folder: PathBuf,
    chunk: u64,
    workers: usize,
}

fn main() {
    if let Some(orders) = env::var_os(child::ORDERS) {
        return child::run(&fs::read(orders).unwrap());
    }
    if !harness::is_wanted("kills") {
        return;
    }
    let numbers: Vec<u64> = env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let plan = match numbers[..] {
        [kills, bytes, bytes_per_second, chunk, workers, seed] => {
            Plan { kills, bytes, bytes_per_second, chunk, workers, seed }
        }
        _ => Plan { kills: 30, bytes: 128 << 20, bytes_per_second: 20 << 20, chunk: 1 << 20, workers: 4, seed: 44 },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(torture(plan));
}

async fn torture(plan: Plan) {
    let storage = Storage::start().await;
    let folder = TempDir::new().unwrap();
    let files = store(&storage, plan).await;
    let limit = Effect::Bandwidth { bytes_per_second: plan.bytes_per_second / plan.workers };
    storage.control.inject(&Fault::new(limit).on(Server::Storage).with_method("GET")).await.unwrap();
    let orders = folder.path().join("orders.json");
    let results = folder.path().join("results");
    let workers = usize::try_from(plan.workers).unwrap();
    let content = Orders { files: files.clone(), folder: results.clone(), chunk: plan.chunk, workers };
    fs::write(&orders, serde_json::to_vec(&content).unwrap()).unwrap();

    let mut random = fastrand::Rng::with_seed(plan.seed);
    let (mut kills, mut complete) = (0, 0);
    while kills < plan.kills {
        let mut process = start(&orders);
        // A random number around the average share of a process, so that some are killed before they receive a byte.
        if received(&mut process, random.u64(0..=2 * plan.bytes / (plan.kills + 1))) {
            process.kill().unwrap();
            kills += 1;
        } else {
            // The download finished before the kill. The first file is removed, so that the next process has one to
            // download.
            complete += 1;
            fs::remove_file(results.join(&files[0].name)).unwrap();
        }
        process.wait().unwrap();
        check(&results, &files, false);
    }
    let last = start(&orders).wait_with_output().unwrap();
    assert!(last.status.success());
    check(&results, &files, true);

    let fetched = plan.bytes + complete * files[0].bytes;
    let requested = requested(&storage, &files).await;
    let (twice, most) = (requested - fetched, kills * plan.chunk * plan.workers);
    println!(
        "{kills} kills in a download of {} files and {} MiB: every published file was correct after each kill",
        files.len(),
        plan.bytes >> 20
    );
    println!(
        "requested twice: {} KiB, {} KiB for each kill, at most {} KiB",
        twice >> 10,
        (twice / kills) >> 10,
        (most / kills) >> 10
    );
    let memory = String::from_utf8_lossy(&last.stdout).lines().last().unwrap_or_default().to_owned();
    println!("peak memory of the last process: {memory}");
    assert!(requested >= fetched && twice <= most, "{twice} bytes were requested twice, at most {most} are permitted");
    let kibibytes: Option<u64> = memory.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    assert!(kibibytes.is_none_or(|kibibytes| kibibytes < 64 << 10), "the peak memory is too high: {memory}");
}

/// Stores the files in the bucket. The first has half of the bytes, the next nine together have a quarter, and the
/// other forty have the rest.
async fn store(storage: &Storage, plan: Plan) -> Vec<Wanted> {
    let mut files = Vec::new();
    for number in 0..FILES {
        let bytes = match number {
            0 => plan.bytes / 2,
            1..10 => plan.bytes / 4 / 9,
            10..49 => plan.bytes / 4 / 40,
            _ => plan.bytes - files.iter().map(|file: &Wanted| file.bytes).sum::<u64>(),
        };
        let blocks = (0..bytes.div_ceil(BLOCK)).map(move |at| block(number, at, BLOCK.min(bytes - at * BLOCK)));
        let crc32c = blocks.clone().fold(Crc32c::default(), |crc32c, block| crc32c.append(&block));
        let name = format!("file-{number}");
        let put = Request::new(Method::Put, storage.bucket.put_url(&name, None).unwrap().expose().clone());
        let put =
            put.with_stream(bytes, stream::iter(blocks.map(Ok))).with_header("x-goog-hash", format!("crc32c={crc32c}"));
        assert_eq!(http().send(put).await.unwrap().status(), 200);
        let lifetime = Duration::from_secs(24 * 3600);
        let url = storage.bucket.get_url(&name, lifetime).unwrap().expose().to_string();
        files.push(Wanted { name, url, bytes, crc32c });
    }
    files
}

/// Returns the block with the index `at` of a file. No two blocks are equal.
fn block(file: u64, at: u64, bytes: u64) -> Bytes {
    let mut block = vec![0; usize::try_from(bytes).unwrap()];
    fastrand::Rng::with_seed(file << 32 | at).fill(&mut block);
    block.into()
}

fn start(orders: &Path) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(child::ORDERS, orders).stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits until a process has received this number of bytes. Returns false if it ended first.
fn received(process: &mut Child, bytes: u64) -> bool {
    let lines = BufReader::new(process.stdout.as_mut().unwrap()).lines();
    lines.map(Result::unwrap).any(|line| line.parse::<u64>().is_ok_and(|received| received >= bytes))
}

/// Asserts that every published file is correct. With `all`, also asserts that all files exist and no others.
fn check(results: &Path, files: &[Wanted], all: bool) {
    for wanted in files {
        let Ok(mut file) = File::open(results.join(&wanted.name)) else {
            assert!(!all, "{} is missing", wanted.name);
            continue;
        };
        let (mut found, mut bytes, mut block) = (Crc32c::default(), 0, vec![0; 1 << 20]);
        loop {
            match file.read(&mut block).unwrap() {
                0 => break,
                length => {
                    found = found.append(&block[..length]);
                    bytes += length as u64;
                }
            }
        }
        assert_eq!((bytes, found), (wanted.bytes, wanted.crc32c), "{}", wanted.name);
    }
    if all {
        let names: Vec<_> = fs::read_dir(results).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), files.len(), "other files are left: {names:?}");
    }
}

/// Returns the total number of bytes that were requested of the files.
async fn requested(storage: &Storage, files: &[Wanted]) -> u64 {
    let path = |file: &Wanted| file.url.parse::<Url>().unwrap().path().to_owned();
    let lengths: HashMap<_, _> = files.iter().map(|file| (path(file), file.bytes)).collect();
    let length = |entry: &platform_emulator::JournalEntry| {
        let bytes = lengths[&entry.path];
        let range = entry.range.as_ref().unwrap();
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        (last.parse::<u64>().unwrap() + 1).min(bytes) - first.parse::<u64>().unwrap()
    };
    storage.requests("GET").await.iter().map(length).sum()
}
