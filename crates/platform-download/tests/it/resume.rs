//! Interruption and resumption of downloads of large files.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use platform_download::{Crc32c, Expected, Progress, Verification};
use platform_emulator::{Effect, Fault, Server};
use tokio::sync::Notify;

use crate::lab::{CHUNK, FixedSource, TestTarget, builder, content, expected};
use crate::storage::Storage;

/// The length of a file of slightly more than ten parts.
const SIZE: usize = 700_000;

fn slow_download() -> Fault {
    Fault::new(Effect::Bandwidth { bytes_per_second: 200_000 }).on(Server::Storage).with_method("GET")
}

/// Starts a slow download, and drops it when at least `bytes` bytes are durable. Returns the number of durable bytes.
pub(crate) async fn interrupt(
    storage: &Storage,
    test: &TestTarget,
    source: &FixedSource,
    expected: Expected,
    bytes: u64,
) -> u64 {
    storage.control.inject(&slow_download()).await.unwrap();
    let (reached_limit, durable) = (Arc::new(Notify::new()), AtomicU64::new(0));
    let observe = |event| {
        if let Progress::Durable(more) = event
            && durable.fetch_add(more, Ordering::SeqCst) + more >= bytes
        {
            reached_limit.notify_one();
        }
    };
    let downloader = builder().build().unwrap();
    tokio::select! {
        outcome = downloader.fetch(source, expected, &test.target, &observe) => panic!("too fast: {outcome:?}"),
        () = reached_limit.notified() => {}
    }
    storage.control.clear_faults().await.unwrap();
    storage.control.clear_journal().await.unwrap();
    durable.into_inner()
}

#[tokio::test]
async fn each_part_of_a_large_file_is_fetched_once() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("large", &content, &[]).await;
    let test = TestTarget::new();
    let outcome = test.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!((outcome.bytes, outcome.generation.is_some(), outcome.etag.is_some()), (SIZE as u64, true, true));
    assert_eq!(fs::read(&test.file).unwrap(), content);
    assert_eq!((storage.requests("GET").await.len(), storage.requested(SIZE as u64).await), (11, SIZE as u64));
    assert_eq!((test.progress_sums(), test.files()), ([0, 700_000, 700_000, 0], vec!["result.csv".to_owned()]));
    assert_eq!(source.calls(), 1);
}

#[tokio::test]
async fn interrupted_download_resumes_with_complete_parts() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("large", &content, &[]).await;
    let test = TestTarget::new().with_old_file();
    let durable = interrupt(&storage, &test, &source, expected(&content), 4 * CHUNK).await;
    assert_eq!(test.files(), [".result.csv.part", ".result.csv.state", "result.csv"]);
    assert_eq!(fs::read(&test.file).unwrap(), b"the good old file");

    test.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!(fs::read(&test.file).unwrap(), content);
    assert_eq!(storage.requested(SIZE as u64).await, SIZE as u64 - durable, "complete parts are not fetched");
    assert_eq!(test.progress_sums()[0], durable);
    assert_eq!(test.files(), ["result.csv"]);
}

#[tokio::test]
async fn damaged_part_is_fetched_again() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("large", &content, &[]).await;
    let test = TestTarget::new();
    let durable = interrupt(&storage, &test, &source, expected(&content), 4 * CHUNK).await;
    let part = test.folder.path().join("item/.result.csv.part");
    // A power failure leaves zeros in place of bytes that were not on disk yet.
    let mut bytes = fs::read(&part).unwrap();
    bytes[..1000].fill(0);
    fs::write(&part, bytes).unwrap();
    // It also leaves a partial line.
    let state = test.folder.path().join("item/.result.csv.state");
    fs::write(&state, fs::read_to_string(&state).unwrap() + "{\"start\":1310").unwrap();
    test.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!(fs::read(&test.file).unwrap(), content);
    assert_eq!(storage.requested(SIZE as u64).await, SIZE as u64 - durable + CHUNK);
}

#[tokio::test]
async fn replaced_object_is_downloaded_from_the_start() {
    let storage = Storage::start().await;
    let (old, mut new) = (content(SIZE), content(SIZE));
    new.reverse();
    // Without an expected checksum, only the generation distinguishes the objects.
    let source = storage.file("large", &old, &[]).await;
    let test = TestTarget::new();
    interrupt(&storage, &test, &source, Expected::unknown(), 4 * CHUNK).await;
    storage.file("large", &new, &[]).await;
    let outcome = test.fetch(&source, Expected::unknown()).await.unwrap();
    assert_eq!((outcome.verification, outcome.crc32c), (Verification::Storage, Crc32c::of(&new)));
    assert!(fs::read(&test.file).unwrap() == new, "the file contains parts of the old object");

    // With another expected checksum, parts of the old object are discarded, too.
    let source = storage.file("large", &old, &[]).await;
    let test = TestTarget::new();
    interrupt(&storage, &test, &source, expected(&old), 4 * CHUNK).await;
    let source = storage.file("large", &new, &[]).await;
    test.fetch(&source, expected(&new)).await.unwrap();
    assert!(fs::read(&test.file).unwrap() == new);
}

#[tokio::test]
async fn complete_partial_file_needs_no_request() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("large", &content, &[]).await;
    let test = TestTarget::new();
    interrupt(&storage, &test, &source, expected(&content), 4 * CHUNK).await;
    // Creates the files that a kill between the last part and the rename leaves.
    let item = test.folder.path().join("item");
    fs::write(item.join(".result.csv.part"), &content).unwrap();
    let state = fs::read_to_string(item.join(".result.csv.state")).unwrap();
    let piece = serde_json::json!({ "start": 0, "bytes": SIZE, "crc32c": Crc32c::of(&content) });
    fs::write(item.join(".result.csv.state"), format!("{}\n{piece}\n", state.lines().next().unwrap())).unwrap();
    test.fetch(&FixedSource::new(None), expected(&content)).await.unwrap();
    assert_eq!(fs::read(&test.file).unwrap(), content);
    assert!(storage.requests("GET").await.is_empty());
}

#[tokio::test]
async fn checksum_of_the_storage_avoids_a_download() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("large", &content, &[]).await;
    let test = TestTarget::new();
    assert!(!test.fetch(&source, Expected::unknown()).await.unwrap().already_present);
    storage.control.clear_journal().await.unwrap();
    let outcome = test.fetch(&source, Expected::unknown()).await.unwrap();
    assert_eq!((outcome.already_present, outcome.verification), (true, Verification::Storage));
    assert_eq!((storage.requests("GET").await.len(), test.files()), (1, vec!["result.csv".to_owned()]));
}

#[tokio::test]
async fn concurrent_download_of_the_same_file_is_rejected() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("large", &content, &[]).await;
    let test = TestTarget::new();
    storage.control.inject(&slow_download()).await.unwrap();
    let downloader = builder().build().unwrap();
    let started = Notify::new();
    let observe = |_| started.notify_one();
    let first = downloader.fetch(&source, expected(&content), &test.target, &observe);
    let second = async {
        started.notified().await;
        let error = test.fetch(&source, expected(&content)).await.unwrap_err();
        assert!(error.is_locked() && error.to_string().contains("another process"), "{error}");
        storage.control.clear_faults().await.unwrap();
    };
    let (first, ()) = tokio::join!(first, second);
    first.unwrap();
    assert_eq!((fs::read(&test.file).unwrap(), test.files()), (content, vec!["result.csv".to_owned()]));
}

#[tokio::test]
async fn empty_file_is_downloaded() {
    let storage = Storage::start().await;
    let source = storage.file("empty", b"", &[]).await;
    for expected in [Expected::unknown(), Expected::new(Crc32c::default()), expected(b"")] {
        let test = TestTarget::new();
        assert_eq!(test.fetch(&source, expected).await.unwrap().bytes, 0);
        assert_eq!((fs::read(&test.file).unwrap(), test.files()), (Vec::new(), vec!["result.csv".to_owned()]));
    }
}
