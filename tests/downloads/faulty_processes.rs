//! A download that continues in many processes, each of which encounters a fault.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use fastrand::Rng;
use futures_util::TryStreamExt;
use platform_download::{Crc32c, ResultFolder, verify};
use platform_emulator::{JournalEntry, Server};
use platform_resources::RunHandle;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use crate::Plan;
use crate::fault::{Fault, FaultKind, Injector};
use crate::platform::Platform;
use crate::program::{self, CHUNK, WORKERS};

const FILES: usize = 50;

struct Download {
    platform: Platform,
    /// The run that is downloaded; `None` if the folder is synchronized with all runs.
    run: Option<RunHandle>,
    /// Length and checksum of each result, as the platform declares them, by the number of its item.
    declared: BTreeMap<String, (u64, Crc32c)>,
    token: String,
    /// The inode, length and modification time of each file with the correct content. These files are read again only
    /// at the end.
    correct: RefCell<HashMap<PathBuf, [i64; 4]>>,
    folder: TempDir,
}

/// Runs a process for each fault of the plan, and then completes the download.
pub(crate) async fn soak(plan: &Plan) {
    let download = Download::start(plan).await;
    let Some(injector) = Injector::compile(download.folder.path()) else { return };
    let mut random = Rng::with_seed(plan.seed);
    let mut kinds: Vec<_> = plan.faults.iter().flat_map(|(kind, count)| vec![*kind; *count]).collect();
    random.shuffle(&mut kinds);
    let max_bytes_before = 2 * plan.bytes / (kinds.len() as u64 + 1);
    let (mut needed_bytes, mut requested_bytes, mut process_count) = (plan.bytes, 0, 0);
    for kind in &kinds {
        loop {
            let fault = Fault::draw(*kind, max_bytes_before, &mut random);
            let mut command = download.command();
            if kind.is_remote() {
                download.inject(kind.draw_remote(CHUNK, &mut random)).await;
            } else {
                injector.inject_into(&mut command, &fault, &download.results_folder());
            }
            let output = command.output().await.unwrap();
            process_count += 1;
            requested_bytes += download.take_requested_bytes().await;
            let is_complete = output.status.success();
            assert!(is_complete || injector.has_occurred() && !kind.is_remote(), "{fault:?}: {}", output_text(&output));
            assert!(
                *kind != FaultKind::Kill || is_complete || output.status.code().is_none(),
                "{}",
                output_text(&output)
            );
            download.check(is_complete);
            if is_complete {
                // The next processes need missing files.
                needed_bytes += download.remove_some(&mut random);
            }
            if kind.is_remote() || injector.has_occurred() {
                break;
            }
        }
    }
    let final_output = download.command().output().await.unwrap();
    assert!(final_output.status.success(), "{}", output_text(&final_output));
    download.correct.borrow_mut().clear();
    download.check(true);
    download.check_folder().await;
    requested_bytes += download.take_requested_bytes().await;
    let (faults, repeated_bytes) = (kinds.len() as u64, requested_bytes - needed_bytes);
    let runs = plan.runs.map_or_else(|| "one run".to_owned(), |runs| format!("{runs} runs, synchronized"));
    println!("{faults} faults in {process_count} processes, {runs} of {} MiB: no wrong file", plan.bytes >> 20);
    println!(
        "requested twice: {} KiB for each fault, at most {}",
        (repeated_bytes / faults) >> 10,
        (WORKERS * CHUNK) >> 10
    );
    assert!(repeated_bytes <= faults * WORKERS * CHUNK, "{repeated_bytes} bytes were requested twice");
}

impl Download {
    async fn start(plan: &Plan) -> Self {
        let platform = Platform::start().await;
        let (count, mut declared, mut last) = (plan.runs.unwrap_or(1), BTreeMap::new(), None);
        for number in 0..count {
            let metadata = file_lengths(plan.bytes / count as u64);
            let metadata =
                metadata.into_iter().map(|bytes| json!({ "size_bytes": bytes }).as_object().unwrap().clone());
            let run = platform.run("huge-file", metadata, number * FILES).await;
            let items: Vec<_> = run.items().try_collect().await.unwrap();
            declared.extend(items.iter().map(|item| {
                let metadata = item.output_artifacts[0].metadata.as_ref().unwrap();
                let crc32c = metadata["checksum_base64_crc32c"].as_str().unwrap().parse().unwrap();
                (file_number(&item.external_id), (metadata["size_bytes"].as_u64().unwrap(), crc32c))
            }));
            last = Some(run);
        }
        let run = last.filter(|_| plan.runs.is_none());
        let token = platform.tokens.token().await.unwrap().secret().expose().to_owned();
        let (correct, folder) = (RefCell::default(), TempDir::new().unwrap());
        Self { platform, run, declared, token, correct, folder }
    }

    fn results_folder(&self) -> PathBuf {
        self.folder.path().join("results")
    }

    fn command(&self) -> Command {
        let root = self.platform.emulator.api_root().as_str();
        program::command(root, &self.token, self.run.as_ref().map(|run| run.id().as_str()), &self.results_folder())
    }

    async fn inject(&self, fault: platform_emulator::Fault) {
        let control = self.platform.emulator.control().unwrap();
        // Removes a fault that the last process did not encounter.
        control.clear_faults().await.unwrap();
        control.inject(&fault).await.unwrap();
    }

    /// Fails if a file is wrong or, with `all_must_exist`, missing.
    fn check(&self, all_must_exist: bool) {
        let files = result_files(&self.results_folder());
        assert!(
            !all_must_exist || files.len() == self.declared.len(),
            "{} of {} files",
            files.len(),
            self.declared.len()
        );
        for (number, path) in files {
            let file_metadata = fs::symlink_metadata(&path).unwrap();
            let identity = [
                file_metadata.ino().cast_signed(),
                file_metadata.size().cast_signed(),
                file_metadata.mtime(),
                file_metadata.mtime_nsec(),
            ];
            if self.correct.borrow().get(&path) == Some(&identity) {
                continue;
            }
            let (mut file, mut block) = (File::open(&path).unwrap(), vec![0; 1 << 20]);
            let (mut bytes, mut crc32c) = (0, Crc32c::default());
            loop {
                match file.read(&mut block).unwrap() {
                    0 => break,
                    length => {
                        crc32c = crc32c.append(&block[..length]);
                        bytes += length as u64;
                    }
                }
            }
            assert_eq!((bytes, crc32c), self.declared[&number], "{}", path.display());
            self.correct.borrow_mut().insert(path, identity);
        }
    }

    /// Fails if the folder contains anything but the results and their manifest.
    async fn check_folder(&self) {
        let check = verify(self.results_folder()).await.unwrap();
        assert!(
            check.is_intact() && check.files.len() == self.declared.len() && check.unlisted.is_empty(),
            "{check:?}"
        );
        let leftovers = ResultFolder::open(self.results_folder()).await.unwrap().leftovers().unwrap();
        assert!(leftovers.is_empty(), "{leftovers:?}");
    }

    /// Removes about half of the files. Removes the whole folder if it is synchronized, because the synchronization
    /// does not fetch removed files again. Returns the total length of the removed files.
    fn remove_some(&self, random: &mut Rng) -> u64 {
        if self.run.is_none() {
            fs::remove_dir_all(self.results_folder()).unwrap();
            return self.declared.values().map(|(bytes, _)| bytes).sum();
        }
        let mut bytes = 0;
        for (number, path) in result_files(&self.results_folder()) {
            if random.bool() {
                fs::remove_file(path).unwrap();
                bytes += self.declared[&number].0;
            }
        }
        bytes
    }

    /// Returns the number of bytes of results that were requested since the last call. Fewer bytes may have been
    /// served. The journal is cleared, because it holds a limited number of requests.
    async fn take_requested_bytes(&self) -> u64 {
        let control = self.platform.emulator.control().unwrap();
        let journal = control.journal(Server::Storage).await.unwrap();
        control.clear_journal().await.unwrap();
        let length = |entry: &JournalEntry| {
            let range = entry.range.as_ref().unwrap();
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            last.parse::<u64>().unwrap() + 1 - first.parse::<u64>().unwrap()
        };
        journal.iter().filter(|entry| entry.method == "GET").map(length).sum()
    }
}

/// Returns the lengths of the files: one has half of the bytes, nine a quarter, and the other forty the rest.
fn file_lengths(bytes: u64) -> Vec<u64> {
    let mut lengths = vec![bytes / 2];
    lengths.extend([bytes / 4 / 9; 9]);
    lengths.extend([bytes / 4 / 40; 39]);
    lengths.push(bytes - lengths.iter().sum::<u64>());
    lengths
}

/// Returns the result files in a folder, each with the number of its item.
fn result_files(folder: &Path) -> Vec<(String, PathBuf)> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if name.starts_with('.') {
                // The state, and interrupted downloads.
            } else if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if name != "manifest.jsonl" {
                files.push((file_number(path.to_str().unwrap()), path));
            }
        }
    }
    files
}

/// Returns the number of an item, which is part of its external id and of the paths of its files.
pub(crate) fn file_number(name: &str) -> String {
    name.split("slide-").nth(1).unwrap()[..6].to_owned()
}

pub(crate) fn output_text(output: &Output) -> String {
    format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr))
}
