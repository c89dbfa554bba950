use std::fs;
use std::path::Path;

use platform_download::{Crc32c, ManifestEntry, ResultFolder};
use tempfile::TempDir;

/// Writes a file and describes it.
fn file(folder: &TempDir, run: &str, file: &str) -> ManifestEntry {
    fs::write(folder.path().join(file), file).unwrap();
    ManifestEntry::new(run, "slide", "areas", file, file.len() as u64, Crc32c::of(file.as_bytes()))
}

fn manifest(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("manifest.jsonl")
}

fn lines(folder: &TempDir) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(manifest(folder)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_finished_manifest_has_the_newest_line_for_each_file() {
    let folder = TempDir::new().unwrap();
    let mut results = ResultFolder::open(folder.path()).await.unwrap();
    for entry in [file(&folder, "run-1", "b"), file(&folder, "run-1", "a")] {
        results.record(entry).await.unwrap();
    }
    assert_eq!(lines(&folder).len(), 2, "recorded at once");
    results.finish().await.unwrap();

    let mut results = ResultFolder::open(folder.path()).await.unwrap();
    results.record(file(&folder, "run-2", "b")).await.unwrap();
    assert_eq!(results.finish().await.unwrap(), manifest(&folder));
    let found: Vec<_> = lines(&folder).iter().map(|line| format!("{} {}", line["file"], line["run"])).collect();
    assert_eq!(found, [r#""a" "run-1""#, r#""b" "run-2""#]);
    let expected = serde_json::json!({
        "run": "run-1", "item": "slide", "artifact": "areas", "file": "a", "bytes": 1, "crc32c": "wdBDMA==",
    });
    assert_eq!(lines(&folder)[0], expected);
}

#[tokio::test]
async fn a_manifest_states_only_files_that_are_there() {
    let folder = TempDir::new().unwrap();
    let mut results = ResultFolder::open(folder.path()).await.unwrap();
    for name in ["there", "gone", "shorter"] {
        results.record(file(&folder, "run-1", name)).await.unwrap();
    }
    let outside = ManifestEntry::new("run-1", "slide", "areas", "../outside", 0, Crc32c::default());
    fs::write(folder.path().join("../outside"), "").ok();
    results.record(outside).await.unwrap();
    fs::remove_file(folder.path().join("gone")).unwrap();
    fs::write(folder.path().join("shorter"), "short").unwrap();
    results.finish().await.unwrap();
    fs::remove_file(folder.path().join("../outside")).ok();
    let found: Vec<_> = lines(&folder).iter().map(|line| line["file"].clone()).collect();
    assert_eq!(found, ["there"]);
}

#[tokio::test]
async fn half_a_line_of_a_crash_is_dropped_and_whole_lines_stay() {
    for tail in [
        "",
        "{\"run\": \"ru",
        "{\"run\":\"r\",\"item\":\"i\",\"artifact\":\"a\",\"file\":\"f\",\"bytes\":1,\"crc32c\":\"wdBDMA==\"}",
    ] {
        let folder = TempDir::new().unwrap();
        let mut results = ResultFolder::open(folder.path()).await.unwrap();
        results.record(file(&folder, "run-1", "a")).await.unwrap();
        drop(results);
        let whole = fs::read_to_string(manifest(&folder)).unwrap();
        fs::write(manifest(&folder), format!("{whole}{}", tail.replace("\": ", "\":"))).unwrap();
        let mut results = ResultFolder::open(folder.path()).await.unwrap();
        results.record(file(&folder, "run-1", "b")).await.unwrap();
        assert_eq!(lines(&folder).len(), 2, "{tail}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_manifest_is_left_alone_and_named() {
    for content in [&b"{}\n"[..], b"my notes without an end", b"\xFF\xFE\n", b"{\"run\": 7}\n"] {
        let folder = TempDir::new().unwrap();
        fs::write(manifest(&folder), content).unwrap();
        let error = ResultFolder::open(folder.path()).await.unwrap_err().to_string();
        assert!(error.contains("manifest.jsonl"), "{error}");
        assert_eq!(fs::read(manifest(&folder)).unwrap(), content);
    }
}

#[tokio::test]
async fn one_process_at_a_time_has_a_folder() {
    let folder = TempDir::new().unwrap();
    let results = ResultFolder::open(folder.path()).await.unwrap();
    let error = ResultFolder::open(folder.path()).await.unwrap_err();
    assert!(error.is_locked() && error.to_string().contains("another process"), "{error}");
    drop(results);
    ResultFolder::open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn a_folder_without_files_gets_no_manifest() {
    let folder = TempDir::new().unwrap();
    drop(ResultFolder::open(folder.path().join("deep/results")).await.unwrap());
    let hidden = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with('.');
    let mut files = fs::read_dir(folder.path().join("deep/results")).unwrap().map(|entry| entry.unwrap().path());
    assert!(files.all(|path| hidden(&path)));
}

#[tokio::test]
async fn names_that_cannot_be_folders_are_found_out_beforehand() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("taken"), "a file").unwrap();
    let results = ResultFolder::open(folder.path()).await.unwrap();
    results.reserve(&["slide", "../other", &"x".repeat(255), "manifest.jsonl"]).await.unwrap();
    assert!(folder.path().join("%2E.%2Fother").is_dir() && folder.path().join("%6Danifest.jsonl").is_dir());
    let error = results.reserve(&["taken"]).await.unwrap_err().to_string();
    assert!(error.contains("taken"), "{error}");
    let error = results.reserve(&["A.tiff", "a.tiff"]).await.unwrap_err().to_string();
    assert!(error.contains("`A.tiff`") && error.contains("`a.tiff`"), "{error}");
}
