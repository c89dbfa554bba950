use std::fs;
use std::path::Path;

use platform_download::{
    Crc32c, FileState, FolderOptions, Locking, ManifestEntry, ResultFolder, Sha256, Shard, verify,
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) fn line(run: &str, file: &str, content: &str) -> Value {
    json!({
        "run": run, "application": "tissue", "version": "1.0.0", "item": "slide", "artifact": "areas", "file": file,
        "bytes": content.len(), "crc32c": Crc32c::of(content.as_bytes()), "sha256": Sha256::of(content.as_bytes()),
        "verification": "declared", "at": "2026-11-25T08:00:00Z", "etag": "\"a\"", "generation": "7",
    })
}

fn entry(run: &str, file: &str, content: &str) -> ManifestEntry {
    serde_json::from_value(line(run, file, content)).unwrap()
}

#[test]
fn manifest_entry_of_an_earlier_version_can_be_read() {
    let mut earlier = line("run-1", "a.csv", "a");
    earlier["verification"] = json!("stated");
    let entry: ManifestEntry = serde_json::from_value(earlier).unwrap();
    assert_eq!(serde_json::to_value(entry).unwrap(), line("run-1", "a.csv", "a"));
}

/// Creates a file with its name as its content, and returns its manifest entry.
fn file(folder: &TempDir, run: &str, file: &str) -> ManifestEntry {
    let path = folder.path().join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, file).unwrap();
    entry(run, file, file)
}

fn manifest(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("manifest.jsonl")
}

fn lines(folder: &TempDir) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(manifest(folder)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn finished_manifest_has_the_newest_line_for_each_file() {
    let folder = TempDir::new().unwrap();
    let mut results = ResultFolder::open(folder.path()).await.unwrap();
    for entry in [file(&folder, "run-1", "b"), file(&folder, "run-1", "a")] {
        results.record(entry).await.unwrap();
    }
    assert_eq!(lines(&folder).len(), 2, "lines are appended immediately");
    results.finish().await.unwrap();

    let mut results = ResultFolder::open(folder.path()).await.unwrap();
    results.record(file(&folder, "run-2", "b")).await.unwrap();
    assert_eq!(results.finish().await.unwrap(), manifest(&folder));
    let files_and_runs: Vec<_> =
        lines(&folder).iter().map(|line| format!("{} {}", line["file"], line["run"])).collect();
    assert_eq!(files_and_runs, [r#""a" "run-1""#, r#""b" "run-2""#]);
    assert_eq!(lines(&folder)[0], line("run-1", "a", "a"));
}

#[tokio::test]
async fn entry_stays_until_a_newer_file_replaces_it() {
    let folder = TempDir::new().unwrap();
    let mut results = ResultFolder::open(folder.path()).await.unwrap();
    for name in ["altered", "gone", "replaced", "shorter", "there"] {
        results.record(file(&folder, "run-1", name)).await.unwrap();
    }
    results.finish().await.unwrap();
    fs::remove_file(folder.path().join("gone")).unwrap();
    fs::write(folder.path().join("altered"), "ALTERED").unwrap();
    fs::write(folder.path().join("shorter"), "short").unwrap();
    let shard = Shard::new(0, 2).unwrap();
    ResultFolder::open_shard(folder.path(), shard).await.unwrap().finish().await.unwrap();
    let mut results = ResultFolder::open(folder.path()).await.unwrap();
    results.record(file(&folder, "run-2", "replaced")).await.unwrap();
    results.finish().await.unwrap();
    let files_and_runs: Vec<_> =
        lines(&folder).iter().map(|line| format!("{} {}", line["file"], line["run"])).collect();
    let expected = ["altered", "gone", "replaced", "shorter", "there"]
        .map(|name| format!("\"{name}\" \"{}\"", if name == "replaced" { "run-2" } else { "run-1" }));
    assert_eq!(files_and_runs, expected);
    let check = verify(folder.path()).await.unwrap();
    let states: Vec<_> = check.files.iter().map(|file| file.state).collect();
    let [changed, missing, intact] = [FileState::Changed, FileState::Missing, FileState::Intact];
    assert_eq!(states, [changed, missing, intact, changed, intact]);
}

#[tokio::test]
async fn forget_removes_the_entry_from_all_manifests() {
    let folder = TempDir::new().unwrap();
    let shard = Shard::new(1, 2).unwrap();
    for options in [FolderOptions::new(), FolderOptions::new().with_shard(shard)] {
        let mut results = options.open(folder.path()).await.unwrap();
        for name in ["a", "b"] {
            results.record(file(&folder, "run", name)).await.unwrap();
        }
        results.finish().await.unwrap();
    }
    let forget = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        platform_download::forget(folder.path(), names, Locking::default())
    };
    let error = forget(&["a", "c"]).await.unwrap_err();
    assert!(error.has_no_entry() && error.to_string().contains("/c"), "{error}");
    assert_eq!(verify(folder.path()).await.unwrap().files.len(), 2, "nothing was removed");
    let open = ResultFolder::open_shard(folder.path(), shard).await.unwrap();
    assert!(forget(&["a"]).await.unwrap_err().is_locked());
    drop(open);
    assert_eq!(forget(&["a"]).await.unwrap(), 2);
    let check = verify(folder.path()).await.unwrap();
    assert_eq!((check.files.len(), check.unlisted.as_slice()), (1, [std::path::PathBuf::from("a")].as_slice()));
}

#[cfg(unix)]
#[tokio::test]
async fn unreadable_file_does_not_stop_the_verification() {
    use durable_fs::faults::{Fault, Operation};

    let folder = TempDir::new().unwrap();
    let mut results = ResultFolder::open(folder.path()).await.unwrap();
    for name in ["a", "b", "c", "d"] {
        results.record(file(&folder, "run", name)).await.unwrap();
    }
    results.finish().await.unwrap();
    fs::remove_file(folder.path().join("c")).unwrap();
    fs::write(folder.path().join("d"), "D").unwrap();
    let _fault = Fault::inject(Operation::Read, folder.path().join("a"), rustix::io::Errno::IO.raw_os_error());
    let check = verify(folder.path()).await.unwrap();
    let states: Vec<_> = check.files.iter().map(|file| file.state).collect();
    assert_eq!(states, [FileState::Unreadable, FileState::Intact, FileState::Missing, FileState::Changed]);
    assert!(check.files[0].reason.as_ref().unwrap().contains("error") && !check.is_intact());
}

#[tokio::test]
async fn truncated_last_line_is_dropped_and_complete_lines_remain() {
    let unterminated_line = serde_json::to_string(&entry("run-9", "f", "f")).unwrap();
    for tail in (0..10).chain([unterminated_line.len()]).map(|bytes| &unterminated_line[..bytes]) {
        let folder = TempDir::new().unwrap();
        let mut results = ResultFolder::open(folder.path()).await.unwrap();
        results.record(file(&folder, "run-1", "a")).await.unwrap();
        drop(results);
        let complete_lines = fs::read_to_string(manifest(&folder)).unwrap();
        fs::write(manifest(&folder), format!("{complete_lines}{tail}")).unwrap();
        let mut results = ResultFolder::open(folder.path()).await.unwrap();
        results.record(file(&folder, "run-1", "b")).await.unwrap();
        assert_eq!(lines(&folder).len(), 2, "{tail}");
    }
}

#[tokio::test]
async fn invalid_manifest_is_reported_and_not_changed() {
    for content in [&b"{}\n"[..], b"my notes without an end", b"{\"other", b"{\n", b"\xFF\xFE\n", b"{\"run\": 7}\n"] {
        let folder = TempDir::new().unwrap();
        fs::write(manifest(&folder), content).unwrap();
        let error = ResultFolder::open(folder.path()).await.unwrap_err().to_string();
        assert!(error.contains("manifest.jsonl"), "{error}");
        assert_eq!(fs::read(manifest(&folder)).unwrap(), content);
    }
}

#[tokio::test]
async fn folder_can_be_open_only_once() {
    let folder = TempDir::new().unwrap();
    let results = ResultFolder::open(folder.path()).await.unwrap();
    let error = ResultFolder::open(folder.path()).await.unwrap_err();
    assert!(error.is_locked() && error.to_string().contains("another process"), "{error}");
    drop(results);
    ResultFolder::open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn folder_without_files_has_no_manifest() {
    let folder = TempDir::new().unwrap();
    drop(ResultFolder::open(folder.path().join("deep/results")).await.unwrap());
    let is_hidden = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with('.');
    let mut files = fs::read_dir(folder.path().join("deep/results")).unwrap().map(|entry| entry.unwrap().path());
    assert!(files.all(|path| is_hidden(&path)));
}

#[tokio::test]
async fn create_subfolders_reports_names_that_cannot_be_folders() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("taken"), "a file").unwrap();
    let results = ResultFolder::open(folder.path()).await.unwrap();
    results.create_subfolders(&["slide", "../other", &"x".repeat(255), "manifest.jsonl"]).await.unwrap();
    assert!(folder.path().join("%2E.%2Fother").is_dir() && folder.path().join("%6Danifest.jsonl").is_dir());
    let error = results.create_subfolders(&["taken"]).await.unwrap_err().to_string();
    assert!(error.contains("taken"), "{error}");
    #[cfg(unix)]
    {
        let outside = TempDir::new().unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("linked")).unwrap();
        let modified_before = fs::metadata(outside.path()).unwrap().modified().unwrap();
        let error = results.create_subfolders(&["linked"]).await.unwrap_err();
        assert!(format!("{error:?}").contains("symbolic link") && error.to_string().contains("linked"), "{error}");
        assert_eq!(
            fs::metadata(outside.path()).unwrap().modified().unwrap(),
            modified_before,
            "no file was created there"
        );
    }
    results.create_subfolders(&["A.tiff", "a.tiff"]).await.unwrap();
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.to_lowercase().starts_with("a.tiff%~")).count(), 2);
}

#[tokio::test]
async fn each_shard_has_its_own_manifest() {
    let folder = TempDir::new().unwrap();
    let shard = |index| Shard::new(index, 2).unwrap();
    let mut first = ResultFolder::open_shard(folder.path(), shard(0)).await.unwrap();
    let mut second = ResultFolder::open_shard(folder.path(), shard(1)).await.unwrap();
    assert!(ResultFolder::open_shard(folder.path(), shard(1)).await.unwrap_err().is_locked());
    first.record(file(&folder, "run", "a")).await.unwrap();
    second.record(file(&folder, "run", "b")).await.unwrap();
    assert_eq!(first.finish().await.unwrap(), folder.path().join("manifest.0-of-2.jsonl"));
    second.finish().await.unwrap();
    let check = verify(folder.path()).await.unwrap();
    assert!(check.is_intact() && check.files.len() == 2 && check.unlisted.is_empty(), "{check:?}");
}

#[tokio::test]
async fn verification_finds_every_kind_of_difference() {
    let folder = TempDir::new().unwrap();
    let mut results = ResultFolder::open(folder.path()).await.unwrap();
    for name in ["a/intact", "a/turned", "a/shorter", "a/gone", "b/linked"] {
        results.record(file(&folder, "run", name)).await.unwrap();
    }
    results.finish().await.unwrap();
    assert!(verify(folder.path()).await.unwrap().is_intact());

    let path = |name: &str| folder.path().join(name);
    fs::write(path("a/turned"), "a/tuRned").unwrap();
    fs::write(path("a/shorter"), "a/short").unwrap();
    fs::remove_file(path("a/gone")).unwrap();
    fs::rename(path("b/linked"), path("b/elsewhere")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(path("b/elsewhere"), path("b/linked")).unwrap();
    let outside_line = serde_json::to_string(&line("run", "../../etc/passwd", "")).unwrap();
    let manifest = fs::read_to_string(manifest(&folder)).unwrap();
    fs::write(path("manifest.jsonl"), manifest + &outside_line + "\n").unwrap();

    let check = verify(folder.path()).await.unwrap();
    let states: Vec<_> = check.files.iter().map(|file| (file.entry.file.as_str(), file.state)).collect();
    assert_eq!(
        states,
        [
            ("../../etc/passwd", FileState::Outside),
            ("a/gone", FileState::Missing),
            ("a/intact", FileState::Intact),
            ("a/shorter", FileState::Changed),
            ("a/turned", FileState::Changed),
            ("b/linked", FileState::Changed),
        ]
    );
    assert!(!check.is_intact());
    assert_eq!(check.unlisted, [Path::new("b/elsewhere")]);

    let error = verify(path("a")).await.unwrap_err();
    assert!(error.has_no_manifest() && error.to_string().contains("manifest.jsonl"), "{error}");
}

#[tokio::test]
async fn equivalent_entry_is_not_written_again() {
    let folder = TempDir::new().unwrap();
    let mut results = ResultFolder::open(folder.path()).await.unwrap();
    results.record(file(&folder, "run", "a")).await.unwrap();
    let mut later_entry = line("run", "a", "a");
    later_entry["at"] = json!("2026-12-01T08:00:00Z");
    results.record(serde_json::from_value(later_entry).unwrap()).await.unwrap();
    assert_eq!(lines(&folder), [line("run", "a", "a")]);
}

#[tokio::test]
async fn entry_without_sha256_does_not_replace_an_entry_with_it() {
    let folder = TempDir::new().unwrap();
    let mut results = ResultFolder::open(folder.path()).await.unwrap();
    let entry = file(&folder, "run", "a");
    let mut entry_without_sha256 = entry.clone();
    entry_without_sha256.sha256 = None;
    results.record(entry_without_sha256.clone()).await.unwrap();
    assert_eq!(lines(&folder)[0]["sha256"], json!(null));
    assert_eq!(verify(folder.path()).await.unwrap().files[0].state, FileState::Intact);
    results.record(entry).await.unwrap();
    results.record(entry_without_sha256).await.unwrap();
    assert_eq!(lines(&folder).len(), 2);
    results.finish().await.unwrap();
    assert_eq!(lines(&folder), [line("run", "a", "a")]);
}

#[cfg(unix)]
#[tokio::test]
async fn sha256sum_verifies_the_checksum_file() {
    let folder = TempDir::new().unwrap();
    let names = ["a b", "back\\slash", "item/x", "line\nbreak", "ümlaut"];
    let mut results = ResultFolder::open(folder.path()).await.unwrap();
    for name in names.iter().chain(&["altered"]) {
        results.record(file(&folder, "run", name)).await.unwrap();
    }
    results.finish().await.unwrap();
    fs::write(folder.path().join("altered"), "ALTERED").unwrap();
    let verified = verify(folder.path()).await.unwrap();
    verified.write_sha256sums(folder.path()).await.unwrap();
    assert_eq!(verified.sha256sums().lines().count(), names.len());
    assert!(verify(folder.path()).await.unwrap().unlisted.is_empty());
    let check = || {
        let mut command = std::process::Command::new("sha256sum");
        command.args(["--check", "--strict", "SHA256SUMS"]).current_dir(folder.path()).output().unwrap()
    };
    let output = check();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut results = ResultFolder::open(folder.path()).await.unwrap();
    let mut added_entry = file(&folder, "run", "added");
    added_entry.sha256 = None;
    results.record(added_entry).await.unwrap();
    results.finish().await.unwrap();
    let sums = || fs::read_to_string(folder.path().join("SHA256SUMS")).unwrap();
    assert!(sums().starts_with("# Partial") && !sums().contains("added"), "{}", sums());
    assert!(check().status.success(), "the first line is a comment");
    let verified = verify(folder.path()).await.unwrap();
    verified.write_sha256sums(folder.path()).await.unwrap();
    assert!(!sums().contains("Partial") && sums().contains("added"), "{}", sums());
    assert!(check().status.success());
    fs::write(folder.path().join(names[1]), "altered").unwrap();
    assert!(!check().status.success());
}
