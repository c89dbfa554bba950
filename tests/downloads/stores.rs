//! Downloads into a bucket by processes that are killed repeatedly.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use auth_http::{HttpClient, Request};
use fastrand::Rng;
use futures_util::TryStreamExt;
use platform_download::{Bucket, Crc32c};
use platform_emulator::Server;
use serde_json::json;
use tempfile::TempDir;

use crate::faulty_processes::{file_number, output_text};
use crate::platform::Platform;
use crate::program::{self, STORE_JOBS};

/// The number of files. One file has half of the bytes.
const FILES: usize = 24;
const PREFIX: &str = "study";
/// The length of the parts of large files, in bytes.
const PART: u64 = 8 << 20;
/// The number of parts of a file that are transferred at a time.
const PART_WORKERS: usize = 2;
/// The time limit for a process.
const PROCESS_TIMEOUT: Duration = Duration::from_secs(120);

struct Sandbox {
    platform: Platform,
    bucket: Bucket,
    token: String,
    /// The expected length and checksum of each file, by its number.
    expected: HashMap<String, (u64, Crc32c)>,
    run: String,
    state: TempDir,
}

/// Downloads a run into a bucket, or synchronizes the bucket with it, in processes that are killed.
pub(crate) async fn soak(bytes: u64, kills: usize, seed: u64, is_sync: bool) {
    let lab = Sandbox::start(bytes).await;
    let mut random = Rng::with_seed(seed);
    let (mut needed, mut requested) = (lab.missing_parts().await, 0);
    for kill in 0..kills {
        if lab.stored_keys().await.len() == FILES {
            // Without missing files, the next processes would have nothing to download.
            lab.remove_objects(&mut random, is_sync).await;
            needed += lab.missing_parts().await;
        }
        let missing = lab.missing_parts().await;
        lab.platform.emulator.control().unwrap().clear_journal().await.unwrap();
        let mut process = lab.command(is_sync).spawn().unwrap();
        let kill_after = random.usize(1..missing * 2 + 2);
        let deadline = tokio::time::Instant::now() + PROCESS_TIMEOUT;
        while process.try_wait().unwrap().is_none() && lab.put_count().await < kill_after {
            assert!(tokio::time::Instant::now() < deadline, "the process does not end");
        }
        // The process may have ended already.
        let _ = process.start_kill();
        process.wait().await.unwrap();
        let fetched = lab.fetched_parts().await;
        assert!(fetched <= missing, "kill {kill}: {fetched} parts were fetched, and {missing} were missing");
        requested += fetched;
        lab.assert_objects_correct().await;
    }
    lab.platform.emulator.control().unwrap().clear_journal().await.unwrap();
    let last = lab.command(is_sync).output().await.unwrap();
    assert!(last.status.success(), "{}", output_text(&last));
    requested += lab.fetched_parts().await;
    // Only one file is transferred in parts.
    let workers = STORE_JOBS - 1 + PART_WORKERS;
    let refetched = requested - needed;
    assert!(refetched <= kills * workers, "{refetched} parts were fetched again");
    lab.assert_objects_correct().await;
    assert_eq!(lab.stored_keys().await.len(), FILES);
    let manifest = lab.content(&format!("{PREFIX}/{}/manifest.jsonl", lab.run)).await;
    let listed = manifest.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    assert_eq!(listed, FILES, "the manifest lists each file once");
    let verb = if is_sync { "synchronized" } else { "downloaded" };
    println!("{kills} kills, {FILES} objects of {} MiB {verb}, {STORE_JOBS} at a time: no wrong object", bytes >> 20);
    println!("fetched again: {refetched} of {requested} parts and small files, at most {} permitted", kills * workers);
}

impl Sandbox {
    async fn start(bytes: u64) -> Self {
        let platform = Platform::start().await;
        let mut sizes = vec![bytes / 2];
        sizes.extend([bytes / 2 / (FILES as u64 - 1); FILES - 1]);
        let metadata = sizes.into_iter().map(|bytes| json!({ "size_bytes": bytes }).as_object().unwrap().clone());
        let run = platform.run("huge-file", metadata, 0).await;
        let items: Vec<_> = run.items().try_collect().await.unwrap();
        let expected = items.iter().map(|item| {
            let metadata = item.output_artifacts[0].metadata.as_ref().unwrap();
            let crc32c = metadata["checksum_base64_crc32c"].as_str().unwrap().parse().unwrap();
            (file_number(&item.external_id), (metadata["size_bytes"].as_u64().unwrap(), crc32c))
        });
        let token = platform.tokens.token().await.unwrap().secret().expose().to_owned();
        let (expected, run) = (expected.collect(), run.id().to_string());
        let bucket = platform.bucket().await;
        Self { platform, bucket, token, expected, run, state: TempDir::new().unwrap() }
    }

    fn command(&self, is_sync: bool) -> tokio::process::Command {
        let run = (!is_sync).then_some(self.run.as_str());
        let target = format!("gs://{}/{PREFIX}", self.bucket.name());
        let command = program::command(self.platform.emulator.api_root().as_str(), &self.token, run, target.as_ref());
        program::with_storage(command, self.platform.emulator.storage().as_str(), self.state.path())
    }

    /// Returns the number of parts of all files that are not stored. A small file is one part.
    async fn missing_parts(&self) -> usize {
        let stored: HashSet<_> = self.stored_keys().await.iter().map(|key| file_number(key)).collect();
        let missing = self.expected.iter().filter(|(number, _)| !stored.contains(*number));
        missing.map(|(_, (bytes, _))| usize::try_from(bytes.div_ceil(PART)).unwrap()).sum()
    }

    /// Returns the keys of the stored results.
    async fn stored_keys(&self) -> Vec<String> {
        let keys: Vec<_> = self.bucket.list(PREFIX).map_ok(|entry| entry.key).try_collect().await.unwrap();
        keys.into_iter().filter(|key| key.contains("slide-")).collect()
    }

    async fn content(&self, key: &str) -> Vec<u8> {
        let url = self.bucket.get_url(key, None).unwrap();
        let http = HttpClient::builder().with_plain_loopback().without_decompression().build().unwrap();
        let response = http.send(Request::get(url.expose().clone())).await.unwrap();
        assert_eq!(response.status(), 200, "{key}");
        response.bytes(usize::MAX).await.unwrap().to_vec()
    }

    /// Asserts that each stored object has the expected content.
    async fn assert_objects_correct(&self) {
        for key in self.stored_keys().await {
            let content = self.content(&key).await;
            let actual = (content.len() as u64, Crc32c::of(&content));
            assert_eq!(actual, self.expected[&file_number(&key)], "{key}");
        }
    }

    /// Removes about half of the results. If the bucket is synchronized, removes all objects, including the state.
    async fn remove_objects(&self, random: &mut Rng, is_sync: bool) {
        let keys: Vec<_> = if is_sync {
            self.bucket.list(PREFIX).map_ok(|entry| entry.key).try_collect().await.unwrap()
        } else {
            self.stored_keys().await.into_iter().filter(|_| random.bool()).collect()
        };
        self.bucket.delete(keys).await;
    }

    /// Returns the number of finished PUT requests.
    async fn put_count(&self) -> usize {
        let journal = self.platform.emulator.control().unwrap().journal(Server::Storage).await.unwrap();
        journal.iter().filter(|entry| entry.method == "PUT").count()
    }

    /// Returns the number of parts and small results that were requested from the platform.
    async fn fetched_parts(&self) -> usize {
        let journal = self.platform.emulator.control().unwrap().journal(Server::Storage).await.unwrap();
        journal.iter().filter(|entry| entry.method == "GET" && entry.path.contains("/results/")).count()
    }
}
