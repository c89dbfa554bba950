//! Partial files that another process replaces during the download.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use platform_download::Progress;

use crate::lab::{CHUNK, TestTarget, builder, content, expected};
use crate::storage::Storage;

const SIZE: usize = 700_000;

/// Replaces a partial file by the given method, and moves it to `moved_path`.
fn swap(method: usize, part: &Path, moved_path: &Path) {
    fs::rename(part, moved_path).unwrap();
    match method {
        0 => fs::write(part, "wrong").unwrap(),
        1 => std::os::unix::fs::symlink(moved_path, part).unwrap(),
        _ => {
            fs::hard_link(moved_path, part).unwrap();
            File::options().write(true).open(moved_path).unwrap().set_len(3).unwrap();
        }
    }
}

/// Returns true at the event that completes the file. `sum` is the number of bytes so far.
/// `Durable` events count for large files only, because a small file is not written before it is published.
fn is_received(sum: &AtomicU64, event: Progress, bytes: u64) -> bool {
    let more = match event {
        Progress::Received(more) if bytes <= CHUNK => more,
        Progress::Durable(more) if bytes > CHUNK => more,
        _ => return false,
    };
    (sum.fetch_add(more, Ordering::SeqCst) + more).is_multiple_of(bytes)
}

#[tokio::test]
async fn replaced_partial_file_is_not_published_and_the_download_restarts() {
    let storage = Storage::start().await;
    // A change in a large file (method 2) is omitted, because it would be reported as an error of the disk.
    for (bytes, method) in [(50_000, 0), (50_000, 1), (50_000, 2), (SIZE, 0), (SIZE, 1)] {
        let content = content(bytes);
        let source = storage.file("file", &content, &[]).await;
        let test = TestTarget::new().with_old_file();
        let (part, moved_path) = (test.folder.path().join("item/.result.csv.part"), test.folder.path().join("aside"));
        let (done, sum) = (AtomicBool::new(false), AtomicU64::new(0));
        let observe = |event| {
            if is_received(&sum, event, bytes as u64) && !done.swap(true, Ordering::SeqCst) {
                swap(method, &part, &moved_path);
            }
        };
        let outcome = builder().build().unwrap().fetch(&source, expected(&content), &test.target, &observe).await;
        assert_eq!(outcome.unwrap().bytes, content.len() as u64);
        assert_eq!(fs::read(&test.file).unwrap(), content, "{bytes} {method}");
        assert!(fs::symlink_metadata(&test.file).unwrap().is_file());
    }
}

#[tokio::test]
async fn repeatedly_replaced_partial_file_is_an_error() {
    let storage = Storage::start().await;
    for bytes in [50_000, SIZE] {
        let content = content(bytes);
        let source = storage.file("file", &content, &[]).await;
        let test = TestTarget::new().with_old_file();
        let (part, moved_path) = (test.folder.path().join("item/.result.csv.part"), test.folder.path().join("aside"));
        let sum = AtomicU64::new(0);
        let observe = |event| {
            if is_received(&sum, event, bytes as u64) {
                swap(0, &part, &moved_path);
            }
        };
        let outcome = builder().build().unwrap().fetch(&source, expected(&content), &test.target, &observe).await;
        let error = outcome.unwrap_err();
        assert!(error.is_local() && error.to_string().contains("another process replaces it"), "{error}");
        assert_eq!(fs::read(&test.file).unwrap(), b"the good old file");
    }
}
