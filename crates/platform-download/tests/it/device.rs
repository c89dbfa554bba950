//! Failing disks and limited file systems: no progress is lost, and only verified files are published.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use durable_fs::faults::{Fault, Operation};
use futures_util::future::join_all;
use platform_download::{Durability, FolderOptions, LeftoverKind, Locking, ResultFolder, Shard, Target};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::lab::{CHUNK, TestTarget, builder, content, expected};
use crate::resume::interrupt;
use crate::storage::Storage;

const SIZE: usize = 700_000;

fn errno(number: Errno) -> i32 {
    number.raw_os_error()
}

#[tokio::test]
async fn read_error_keeps_the_parts_and_names_the_file() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("large", &content, &[]).await;
    let test = TestTarget::new();
    let durable = interrupt(&storage, &test, &source, expected(&content), 4 * CHUNK).await;
    let files_before = test.files();
    for name in [".result.csv.part", ".result.csv.state"] {
        let path = test.folder.path().join("item").join(name);
        let fault = Fault::inject(Operation::Read, &path, errno(Errno::IO));
        let error = test.fetch(&source, expected(&content)).await.unwrap_err();
        assert!(error.is_unreadable() && error.is_local() && error.to_string().contains(name), "{error}");
        assert_eq!(test.files(), files_before, "nothing is deleted");
        drop(fault);
    }
    let _once =
        Fault::inject_times(Operation::Read, test.folder.path().join("item/.result.csv.part"), errno(Errno::IO), 2);
    test.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!(storage.requested(SIZE as u64).await, SIZE as u64 - durable, "no complete part is fetched again");
    assert_eq!((fs::read(&test.file).unwrap(), test.files()), (content, vec!["result.csv".to_owned()]));
}

#[tokio::test]
async fn large_file_without_sha256_is_not_read_back() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("large", &content, &[]).await;
    let test = TestTarget::new();
    let _fault = Fault::inject(Operation::Read, test.folder.path(), errno(Errno::IO));
    let downloader = builder().with_durability(Durability::None).build().unwrap();
    let error = test.fetch_with(&downloader, &source, expected(&content)).await.unwrap_err();
    assert!(error.is_unreadable(), "{error}");
    let test = TestTarget::new();
    let _fault = Fault::inject(Operation::Read, test.folder.path(), errno(Errno::IO));
    let outcome = test.fetch_with(&downloader.with_sha256(false), &source, expected(&content)).await.unwrap();
    assert_eq!((outcome.bytes, outcome.sha256), (SIZE as u64, None));
    assert_eq!((fs::read(&test.file).unwrap(), test.files()), (content, vec!["result.csv".to_owned()]));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn space_of_a_large_file_is_reserved_if_that_is_supported() {
    use std::os::unix::fs::MetadataExt;

    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("large", &content, &[]).await;
    for (number, is_reserved) in [(None, true), (Some(Errno::OPNOTSUPP), false), (Some(Errno::NOSYS), false)] {
        let test = TestTarget::new();
        let fault = number.map(|number| Fault::inject(Operation::Reserve, test.folder.path(), errno(number)));
        interrupt(&storage, &test, &source, expected(&content), CHUNK).await;
        let part = fs::metadata(test.folder.path().join("item/.result.csv.part")).unwrap();
        assert_eq!((part.len(), part.blocks() * 512 >= SIZE as u64), (SIZE as u64, is_reserved), "{number:?}");
        test.fetch(&source, expected(&content)).await.unwrap();
        drop(fault);
        assert_eq!(fs::read(&test.file).unwrap(), content);
    }
    let test = TestTarget::new().with_old_file();
    let _fault = Fault::inject(Operation::Reserve, test.folder.path(), errno(Errno::NOSPC));
    let error = test.fetch(&source, expected(&content)).await.unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    assert_eq!(test.files(), ["result.csv"]);
}

#[tokio::test]
async fn failed_sync_keeps_the_whole_file() {
    let storage = Storage::start().await;
    for content in [content(1000), content(SIZE)] {
        let source = storage.file("file", &content, &[]).await;
        let test = TestTarget::new();
        let fault = Fault::inject(Operation::SyncFile, test.folder.path(), errno(Errno::IO));
        test.fetch(&source, expected(&content)).await.unwrap_err();
        drop(fault);
        assert_eq!(test.files(), [".result.csv.part", ".result.csv.state"]);
        storage.control.clear_journal().await.unwrap();
        test.fetch(&source, expected(&content)).await.unwrap();
        assert_eq!(fs::read(&test.file).unwrap(), content);
        assert!(storage.requests("GET").await.is_empty(), "no byte is fetched again");
    }
}

#[tokio::test]
async fn full_disk_keeps_the_old_state_file() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("large", &content, &[]).await;
    let test = TestTarget::new();
    interrupt(&storage, &test, &source, expected(&content), 4 * CHUNK).await;
    let state = test.folder.path().join("item/.result.csv.state");
    let state_before = fs::read(&state).unwrap();
    let temporary = test.folder.path().join("item/.result.csv.state.tmp");
    let fault = Fault::inject(Operation::Write, temporary, errno(Errno::NOSPC));
    let error = test.fetch(&source, expected(&content)).await.unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    drop(fault);
    assert_eq!(fs::read(&state).unwrap(), state_before);
}

#[tokio::test]
async fn symbolic_link_as_lock_or_manifest_is_rejected() {
    for name in ["manifest.jsonl", ".aignostics.lock"] {
        let (folder, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let victim = outside.path().join("victim");
        fs::write(&victim, "").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join(name)).unwrap();
        let error = ResultFolder::open(folder.path()).await.unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("symbolic link"), "{error}");
        assert_eq!(fs::read(&victim).unwrap(), b"");
    }
}

#[tokio::test]
async fn result_folder_works_on_a_file_system_without_locks() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    for number in [Errno::NOSYS, Errno::NOLCK, Errno::OPNOTSUPP] {
        let test = TestTarget::new();
        let _fault = Fault::inject(Operation::Lock, test.folder.path(), errno(number));
        let results = ResultFolder::open(test.folder.path()).await.unwrap();
        assert!(ResultFolder::open(test.folder.path()).await.unwrap_err().is_locked(), "{number}");
        test.fetch(&source, expected(&content)).await.unwrap();
        assert_eq!(fs::read(&test.file).unwrap(), content);
        results.finish().await.unwrap();
        assert_eq!(test.files(), [".aignostics.lock", "manifest.jsonl", "result.csv"], "{number}");
        ResultFolder::open(test.folder.path()).await.unwrap();
    }
}

#[tokio::test]
async fn lost_lease_stops_the_writer() {
    let folder = TempDir::new().unwrap();
    let _fault = Fault::inject(Operation::Lock, folder.path(), errno(Errno::NOSYS));
    let results = ResultFolder::open(folder.path()).await.unwrap();
    fs::write(folder.path().join(".aignostics.lock.lease"), "7 other").unwrap();
    let error = results.finish().await.unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(reason.contains("another process"), "{reason}");
    assert!(!folder.path().join("manifest.jsonl").exists());
}

#[tokio::test]
async fn folder_with_locking_off_can_be_opened_twice() {
    let folder = TempDir::new().unwrap();
    let options = platform_download::FolderOptions::new().with_locking(Locking::Off);
    let first = options.open(folder.path()).await.unwrap();
    options.open(folder.path()).await.unwrap();
    first.finish().await.unwrap();
}

#[tokio::test]
async fn result_folder_works_without_folder_sync() {
    let storage = Storage::start().await;
    let content = content(1000);
    let source = storage.file("file", &content, &[]).await;
    let test = TestTarget::new();
    let _fault = Fault::inject(Operation::SyncFolder, test.folder.path(), errno(Errno::INVAL));
    let results = ResultFolder::open(test.folder.path()).await.unwrap();
    test.fetch(&source, expected(&content)).await.unwrap();
    results.finish().await.unwrap();
    assert_eq!(fs::read(&test.file).unwrap(), content);
}

#[tokio::test]
async fn abandoned_temporary_files_are_removed_but_partial_files_are_not() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("item")).unwrap();
    let kept_names = [".abcdef.part", ".abcdef.state", "item/.x.csv.part", "item/.x.csv.state", "item/.y.csv.corrupt"];
    for name in kept_names.iter().chain(&[".Zq3x9A.part", ".aignostics.probe", ".manifest.jsonl.tmp"]) {
        fs::write(path(name), "x").unwrap();
    }
    let results = ResultFolder::open(folder.path()).await.unwrap();
    assert!(kept_names.iter().all(|name| path(name).exists()));
    assert!(!path(".Zq3x9A.part").exists() && !path(".aignostics.probe").exists());

    let lock_file = File::options().write(true).open(path("item/.x.csv.part")).unwrap();
    lock_file.lock().unwrap();
    let names = |leftovers: &[platform_download::Leftover]| -> Vec<String> {
        leftovers.iter().map(|leftover| leftover.path.display().to_string()).collect()
    };
    let leftovers = results.leftovers().unwrap();
    assert_eq!(names(&leftovers), [".abcdef.part", ".abcdef.state", ".manifest.jsonl.tmp", "item/.y.csv.corrupt"]);
    drop(lock_file);
    let leftovers = results.leftovers().unwrap();
    assert_eq!(
        (leftovers.len(), leftovers[0].kind, leftovers[2].kind),
        (6, LeftoverKind::Partial, LeftoverKind::Temporary)
    );
    results.clean(&leftovers).unwrap();
    assert!(results.leftovers().unwrap().is_empty() && path(".aignostics.lock").exists());
}

#[tokio::test]
async fn full_disk_can_be_cleaned() {
    let folder = TempDir::new().unwrap();
    drop(ResultFolder::open(folder.path()).await.unwrap());
    let part = folder.path().join(".x.csv.part");
    fs::write(&part, "x").unwrap();
    let _full = Fault::inject(Operation::Write, folder.path(), errno(Errno::NOSPC));
    assert!(ResultFolder::open(folder.path()).await.unwrap_err().to_string().contains("disk is full"));
    let results = FolderOptions::new().without_write_checks().open(folder.path()).await.unwrap();
    results.clean(&results.leftovers().unwrap()).unwrap();
    assert!(!part.exists());
}

#[tokio::test]
async fn manifest_that_another_shard_writes_is_not_a_leftover() {
    let folder = TempDir::new().unwrap();
    let other = ResultFolder::open_shard(folder.path(), Shard::new(0, 2).unwrap()).await.unwrap();
    let results = ResultFolder::open(folder.path()).await.unwrap();
    let temporary = folder.path().join(".manifest.0-of-2.jsonl.tmp");
    fs::write(&temporary, "x").unwrap();
    assert!(results.leftovers().unwrap().is_empty());
    drop(other);
    let leftovers = results.leftovers().unwrap();
    let other = ResultFolder::open_shard(folder.path(), Shard::new(0, 2).unwrap()).await.unwrap();
    results.clean(&leftovers).unwrap();
    assert!(leftovers.len() == 1 && temporary.exists(), "the shard is open again");
    drop(other);
    results.clean(&leftovers).unwrap();
    assert!(!temporary.exists());
}

#[tokio::test]
async fn failed_background_sync_is_an_error() {
    let storage = Storage::start().await;
    // The file is large enough for a background sync.
    let content = content(2 << 20);
    let source = storage.file("large", &content, &[]).await;
    let test = TestTarget::new();
    let path = test.folder.path().join("item/.result.csv.part");
    let fault = Fault::inject_times(Operation::SyncFile, &path, errno(Errno::IO), 1);
    let error = test.fetch(&source, expected(&content)).await.unwrap_err();
    assert!(error.is_local() && !test.file.exists(), "{error}");
    drop(fault);
    test.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!(storage.requested(content.len() as u64).await, content.len() as u64, "no byte is fetched again");
}

#[tokio::test]
async fn sync_failure_is_an_error_only_if_the_durability_needs_the_call() {
    let storage = Storage::start().await;
    let operations = [Operation::SyncFile, Operation::SyncFolder, Operation::SyncFileSystem];
    // Each durability, and true for each of the `operations` whose failure is an error.
    for (durability, calls) in [
        (Durability::None, [false; 3]),
        (Durability::File, [true, true, false]),
        // A failed `syncfs` falls back to `fsync`, and vice versa.
        (Durability::Batch, [false; 3]),
    ] {
        for content in [content(1000), content(SIZE)] {
            let source = storage.file("file", &content, &[]).await;
            let downloader = builder().with_durability(durability).build().unwrap();
            for (operation, is_error) in operations.into_iter().zip(calls) {
                let test = TestTarget::new();
                let fault = Fault::inject(operation, test.folder.path(), errno(Errno::IO));
                let outcome = test.fetch_with(&downloader, &source, expected(&content)).await;
                assert_eq!(outcome.is_err(), is_error, "{durability:?} {operation:?}");
                drop(fault);
                test.fetch_with(&downloader, &source, expected(&content)).await.unwrap();
                assert_eq!(fs::read(&test.file).unwrap(), content);
            }
        }
    }
}

#[tokio::test]
async fn batch_falls_back_to_fsync_without_syncfs() {
    let storage = Storage::start().await;
    let content = content(1000);
    let source = storage.file("file", &content, &[]).await;
    let downloader = builder().with_durability(Durability::Batch).build().unwrap();
    for error_number in [Errno::NOSYS, Errno::IO] {
        let test = TestTarget::new();
        let _missing = Fault::inject(Operation::SyncFileSystem, test.folder.path(), errno(error_number));
        let _broken = Fault::inject(Operation::SyncFile, test.folder.path(), errno(Errno::IO));
        test.fetch_with(&downloader, &source, expected(&content)).await.unwrap_err();
    }
}

#[test]
fn pool_of_eight_threads_downloads_64_large_files() {
    let pool = |threads| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).max_blocking_threads(threads).enable_all().build().unwrap()
    };
    // The emulator runs in a separate pool, so that it does not use the threads of the download.
    let (download_pool, emulator_pool) = (pool(8), pool(512));
    let content = content(1 << 20);
    let (storage, source) = emulator_pool.block_on(async {
        let storage = Storage::start().await;
        let source = storage.file("large", &content, &[]).await;
        (storage, source)
    });
    let folder = TempDir::new().unwrap();
    let downloader = builder().with_workers(64).build().unwrap();
    let fetch = async |number: usize| {
        let target = Target::within(folder.path(), [format!("file-{number}")]);
        downloader.fetch(&source, expected(&content), &target, &|_| {}).await.unwrap();
        assert!(fs::read(target.path()).unwrap() == content);
    };
    // All downloads start at the same time.
    let downloads = async { tokio::time::timeout(Duration::from_secs(300), join_all((0..64).map(fetch))).await };
    assert!(download_pool.block_on(downloads).is_ok(), "no thread of the pool is left to write");
    emulator_pool.block_on(async { drop(storage) });
}

#[tokio::test]
async fn only_abandoned_leases_are_leftovers() {
    let folder = TempDir::new().unwrap();
    let results = ResultFolder::open(folder.path()).await.unwrap();
    let names = [".a.csv.part.lease", ".b.csv.part.lease", ".b.csv.part.lease.7-0.expired"];
    for name in names {
        fs::write(folder.path().join(name), "7 0").unwrap();
    }
    for name in &names[1..] {
        let lease = File::options().write(true).open(folder.path().join(name)).unwrap();
        lease.set_modified(auth_core::Clock::now(&auth_core::SystemClock) - Duration::from_secs(180)).unwrap();
    }
    let leftovers = results.leftovers().unwrap();
    let listed_names: Vec<_> = leftovers.iter().map(|leftover| leftover.path.to_str().unwrap()).collect();
    assert_eq!(listed_names, names[1..]);
    results.clean(&leftovers).unwrap();
    assert!(folder.path().join(names[0]).exists() && !folder.path().join(names[1]).exists());
}

#[tokio::test]
async fn file_with_a_similar_name_is_not_a_manifest() {
    let folder = TempDir::new().unwrap();
    ResultFolder::open(folder.path()).await.unwrap().finish().await.unwrap();
    fs::write(folder.path().join("manifest.old.jsonl"), "not a manifest").unwrap();
    let check = platform_download::verify(folder.path()).await.unwrap();
    assert_eq!(check.unlisted, [Path::new("manifest.old.jsonl")]);
    let removed_entries = platform_download::forget(folder.path(), Vec::new(), Locking::default()).await;
    assert_eq!(removed_entries.unwrap(), 0);
}

#[tokio::test]
async fn read_error_of_a_part_does_not_stop_the_requests() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("large", &content, &[]).await;
    let test = TestTarget::new();
    let durable = interrupt(&storage, &test, &source, expected(&content), 4 * CHUNK).await;
    let fault = Fault::inject(Operation::Read, test.folder.path().join("item/.result.csv.part"), errno(Errno::IO));
    assert!(test.fetch(&source, expected(&content)).await.unwrap_err().is_unreadable());
    drop(fault);
    let requested_bytes = storage.requested(SIZE as u64).await;
    assert_eq!(requested_bytes, SIZE as u64 - durable, "the rest was fetched before the error was reported");
    test.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!((fs::read(&test.file).unwrap(), storage.requested(SIZE as u64).await), (content, requested_bytes));
}

#[tokio::test]
async fn manifest_is_durable_after_a_sync() {
    let folder = TempDir::new().unwrap();
    let entry = |file: &str| serde_json::from_value(crate::folder::line("run-1", file, "a")).unwrap();
    let mut results = ResultFolder::open(folder.path()).await.unwrap();
    results.sync().await.unwrap();
    assert!(!folder.path().join("manifest.jsonl").exists(), "nothing to sync");
    results.record(entry("a")).await.unwrap();
    let fault = Fault::inject(Operation::SyncFile, folder.path().join("manifest.jsonl"), errno(Errno::IO));
    results.sync().await.unwrap_err();
    results.record(entry("b")).await.unwrap();
    results.sync().await.unwrap_err();
    drop(fault);
    results.sync().await.unwrap();
    assert_eq!(results.entries_of("run-1").count(), 2);
}
