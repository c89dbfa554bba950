use std::fs;

use platform_download::{Crc32c, Manifest, ManifestEntry};
use tempfile::TempDir;

fn entry(run: &str, file: &str) -> ManifestEntry {
    ManifestEntry::new(run, "slide", "areas", file, 5, Crc32c::of(file.as_bytes()))
}

fn lines(folder: &TempDir) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(folder.path().join("manifest.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_finished_manifest_has_the_newest_line_for_each_file() {
    let folder = TempDir::new().unwrap();
    let mut manifest = Manifest::open(folder.path()).await.unwrap();
    for entry in [entry("run-1", "b"), entry("run-1", "a")] {
        manifest.record(entry).await.unwrap();
    }
    assert_eq!(lines(&folder).len(), 2, "recorded at once");
    manifest.finish().await.unwrap();

    let mut manifest = Manifest::open(folder.path()).await.unwrap();
    manifest.record(entry("run-2", "b")).await.unwrap();
    let path = manifest.finish().await.unwrap();
    assert_eq!(path, folder.path().join("manifest.jsonl"));
    let found: Vec<_> = lines(&folder).iter().map(|line| format!("{} {}", line["file"], line["run"])).collect();
    assert_eq!(found, [r#""a" "run-1""#, r#""b" "run-2""#]);
    let expected = serde_json::json!({ "run": "run-1", "item": "slide", "artifact": "areas", "file": "a", "bytes": 5, "crc32c": "wdBDMA==" });
    assert_eq!(lines(&folder)[0], expected);
}

#[tokio::test]
async fn a_line_that_a_crash_cut_off_is_dropped_and_the_others_stay() {
    let folder = TempDir::new().unwrap();
    let mut manifest = Manifest::open(folder.path()).await.unwrap();
    manifest.record(entry("run-1", "a")).await.unwrap();
    drop(manifest);
    let path = folder.path().join("manifest.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{whole}{{\"run\": \"ru")).unwrap();
    let mut manifest = Manifest::open(folder.path()).await.unwrap();
    manifest.record(entry("run-1", "b")).await.unwrap();
    assert_eq!(lines(&folder).len(), 2);
}

#[tokio::test]
async fn a_file_that_is_no_manifest_is_left_alone_and_named() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("manifest.jsonl");
    fs::write(&path, "{}\n").unwrap();
    let error = Manifest::open(folder.path()).await.unwrap_err().to_string();
    assert!(error.contains("manifest.jsonl") && error.contains("line 1"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n");
}
