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
struct RequestedFile {
    name: String,
    url: String,
    bytes: u64,
    crc32c: Crc32c,
}

/// The arguments of the child process.
#[derive(Deserialize, Serialize)]
struct ChildArguments {
    files: Vec<RequestedFile>,
    folder: PathBuf,
    chunk: u64,
    workers: usize,
}

fn main() {
    if let Some(arguments_path) = env::var_os(child::ARGUMENTS_VARIABLE) {
        return child::run(&fs::read(arguments_path).unwrap());
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
    runtime.block_on(kill_repeatedly(plan));
}

async fn kill_repeatedly(plan: Plan) {
    let storage = Storage::start().await;
    let folder = TempDir::new().unwrap();
    let files = store(&storage, plan).await;
    let limit = Effect::Bandwidth { bytes_per_second: plan.bytes_per_second / plan.workers };
    storage.control.inject(&Fault::new(limit).on(Server::Storage).with_method("GET")).await.unwrap();
    let arguments_path = folder.path().join("orders.json");
    let results = folder.path().join("results");
    let workers = usize::try_from(plan.workers).unwrap();
    let arguments = ChildArguments { files: files.clone(), folder: results.clone(), chunk: plan.chunk, workers };
    fs::write(&arguments_path, serde_json::to_vec(&arguments).unwrap()).unwrap();

    let mut random = fastrand::Rng::with_seed(plan.seed);
    let (mut kills, mut completed_downloads) = (0, 0);
    while kills < plan.kills {
        let mut process = start(&arguments_path);
        // A random number around the average share of a process. Some processes are killed before they receive a byte.
        if receives(&mut process, random.u64(0..=2 * plan.bytes / (plan.kills + 1))) {
            process.kill().unwrap();
            kills += 1;
        } else {
            // The download finished before the kill. The first file is removed, so that the next process has a
            // file to download.
            completed_downloads += 1;
            fs::remove_file(results.join(&files[0].name)).unwrap();
        }
        process.wait().unwrap();
        check(&results, &files, false);
    }
    let last = start(&arguments_path).wait_with_output().unwrap();
    assert!(last.status.success());
    check(&results, &files, true);

    let needed_bytes = plan.bytes + completed_downloads * files[0].bytes;
    let requested_bytes = requested_bytes(&storage, &files).await;
    let (repeated, max_repeated) = (requested_bytes - needed_bytes, kills * plan.chunk * plan.workers);
    println!(
        "{kills} kills in a download of {} files and {} MiB: every published file was correct after each kill",
        files.len(),
        plan.bytes >> 20
    );
    println!(
        "requested twice: {} KiB, {} KiB for each kill, at most {} KiB",
        repeated >> 10,
        (repeated / kills) >> 10,
        (max_repeated / kills) >> 10
    );
    let memory = String::from_utf8_lossy(&last.stdout).lines().last().unwrap_or_default().to_owned();
    println!("peak memory of the last process: {memory}");
    assert!(
        requested_bytes >= needed_bytes && repeated <= max_repeated,
        "{repeated} bytes were requested twice, at most {max_repeated} are permitted"
    );
    let kibibytes: Option<u64> = memory.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    assert!(kibibytes.is_none_or(|kibibytes| kibibytes < 64 << 10), "the peak memory is too high: {memory}");
}

/// Stores the files in the bucket. The first file has half of the bytes, the next nine files together have a quarter,
/// and the other forty files have the rest.
async fn store(storage: &Storage, plan: Plan) -> Vec<RequestedFile> {
    let mut files = Vec::new();
    for number in 0..FILES {
        let bytes = match number {
            0 => plan.bytes / 2,
            1..10 => plan.bytes / 4 / 9,
            10..49 => plan.bytes / 4 / 40,
            _ => plan.bytes - files.iter().map(|file: &RequestedFile| file.bytes).sum::<u64>(),
        };
        let blocks =
            (0..bytes.div_ceil(BLOCK)).map(move |index| block(number, index, BLOCK.min(bytes - index * BLOCK)));
        let crc32c = blocks.clone().fold(Crc32c::default(), |crc32c, block| crc32c.append(&block));
        let name = format!("file-{number}");
        let put = Request::new(Method::Put, storage.bucket.put_url(&name, None).unwrap().expose().clone());
        let put =
            put.with_stream(bytes, stream::iter(blocks.map(Ok))).with_header("x-goog-hash", format!("crc32c={crc32c}"));
        assert_eq!(http().send(put).await.unwrap().status(), 200);
        let lifetime = Duration::from_secs(24 * 3600);
        let url = storage.bucket.get_url(&name, lifetime).unwrap().expose().to_string();
        files.push(RequestedFile { name, url, bytes, crc32c });
    }
    files
}

/// Returns a block of a file. No two blocks are equal.
fn block(file: u64, index: u64, bytes: u64) -> Bytes {
    let mut block = vec![0; usize::try_from(bytes).unwrap()];
    fastrand::Rng::with_seed(file << 32 | index).fill(&mut block);
    block.into()
}

fn start(arguments_path: &Path) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(child::ARGUMENTS_VARIABLE, arguments_path).stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits until a process has received this number of bytes. Returns false if it ended first.
fn receives(process: &mut Child, bytes: u64) -> bool {
    let lines = BufReader::new(process.stdout.as_mut().unwrap()).lines();
    lines.map(Result::unwrap).any(|line| line.parse::<u64>().is_ok_and(|received| received >= bytes))
}

/// Asserts that every published file is correct. If `is_complete`, also asserts that the folder contains exactly these
/// files.
fn check(results: &Path, files: &[RequestedFile], is_complete: bool) {
    for requested in files {
        let Ok(mut file) = File::open(results.join(&requested.name)) else {
            assert!(!is_complete, "{} is missing", requested.name);
            continue;
        };
        let (mut crc32c, mut bytes, mut block) = (Crc32c::default(), 0, vec![0; 1 << 20]);
        loop {
            match file.read(&mut block).unwrap() {
                0 => break,
                length => {
                    crc32c = crc32c.append(&block[..length]);
                    bytes += length as u64;
                }
            }
        }
        assert_eq!((bytes, crc32c), (requested.bytes, requested.crc32c), "{}", requested.name);
    }
    if is_complete {
        let names: Vec<_> = fs::read_dir(results).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), files.len(), "other files are left: {names:?}");
    }
}

/// Returns the total number of bytes that were requested of the files.
async fn requested_bytes(storage: &Storage, files: &[RequestedFile]) -> u64 {
    let path = |file: &RequestedFile| file.url.parse::<Url>().unwrap().path().to_owned();
    let lengths: HashMap<_, _> = files.iter().map(|file| (path(file), file.bytes)).collect();
    let length = |entry: &platform_emulator::JournalEntry| {
        let bytes = lengths[&entry.path];
        let range = entry.range.as_ref().unwrap();
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        (last.parse::<u64>().unwrap() + 1).min(bytes) - first.parse::<u64>().unwrap()
    };
    storage.requests("GET").await.iter().map(length).sum()
}
