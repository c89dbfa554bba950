use std::fs;
use std::path::{Path, PathBuf};

use durable_fs::AtomicFile;
use tempfile::TempDir;

const RESERVED_BYTES: u64 = 64 * 1024;

/// A folder with the file `state`, which contains "old".
struct Fixture(TempDir);

impl Fixture {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("state"), "old").unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn atomic_file(&self) -> AtomicFile {
        atomic_file(self.0.path())
    }

    fn content(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }
}

fn atomic_file(folder: &Path) -> AtomicFile {
    AtomicFile::new(folder.join("state"), folder.join("state.tmp"))
}

#[test]
fn replace_leaves_no_temporary_file() {
    let fixture = Fixture::new();
    // A killed writer has left a temporary file that is longer than the new content.
    fs::write(fixture.0.path().join("state.tmp"), "half of something long").unwrap();
    fixture.atomic_file().replace(b"new").unwrap();
    assert_eq!((fixture.content().as_str(), crate::file_names(fixture.0.path())), ("new", vec!["state".to_owned()]));
}

#[test]
fn failed_replace_keeps_the_old_content() {
    let fixture = Fixture::new();
    // A folder with its name prevents the creation of the temporary file.
    fs::create_dir(fixture.0.path().join("state.tmp")).unwrap();
    fixture.atomic_file().replace(b"new").unwrap_err();
    assert_eq!(fixture.content(), "old");
}

#[test]
fn commit_accepts_content_of_any_size() {
    for size in [0, 1, 100, 70_000] {
        let fixture = Fixture::new();
        let bytes = vec![7; size];
        let reservation = fixture.atomic_file().reserve(RESERVED_BYTES).unwrap();
        assert_eq!(fixture.content(), "old", "nothing changes before the commit");
        reservation.commit(&bytes).unwrap();
        assert!(fs::read(fixture.path()).unwrap() == bytes, "{size}");
        assert_eq!(crate::file_names(fixture.0.path()), ["state"]);
    }
}

#[test]
fn dropped_reservation_removes_its_temporary_file() {
    let fixture = Fixture::new();
    let reservation = fixture.atomic_file().reserve(RESERVED_BYTES).unwrap();
    assert_eq!(crate::file_names(fixture.0.path()), ["state", "state.tmp"]);
    drop(reservation);
    assert_eq!((fixture.content().as_str(), crate::file_names(fixture.0.path())), ("old", vec!["state".to_owned()]));
}

#[cfg(unix)]
#[test]
fn reservation_allocates_blocks() {
    use std::os::unix::fs::MetadataExt;

    let fixture = Fixture::new();
    let _reservation = fixture.atomic_file().reserve(RESERVED_BYTES).unwrap();
    let temporary = fs::metadata(fixture.0.path().join("state.tmp")).unwrap();
    assert!(temporary.blocks() * 512 >= RESERVED_BYTES, "{} blocks", temporary.blocks());
}

#[cfg(unix)]
#[test]
fn temporary_file_replaced_by_a_second_writer_is_not_committed() {
    let fixture = Fixture::new();
    let first = fixture.atomic_file().reserve(RESERVED_BYTES).unwrap();
    let second = fixture.atomic_file().reserve(RESERVED_BYTES).unwrap();
    let error = first.commit(b"first").unwrap_err();
    assert!(error.to_string().contains("was replaced by another process"), "{error}");
    assert_eq!(fixture.content(), "old");
    second.commit(b"second").unwrap();
    assert_eq!(fixture.content(), "second");
}

#[cfg(unix)]
#[test]
fn temporary_file_is_created_with_the_final_mode() {
    for mode in [0o600, 0o640] {
        let fixture = Fixture::new();
        let reservation = fixture.atomic_file().with_mode(mode).reserve(1).unwrap();
        assert_eq!(crate::mode(&fixture.0.path().join("state.tmp")), mode);
        reservation.commit(b"new").unwrap();
        assert_eq!(crate::mode(&fixture.path()), mode);
    }
}

#[cfg(unix)]
#[test]
fn special_files_are_not_replaced() {
    let folder = TempDir::new().unwrap();
    for (kind, path) in crate::special_files(folder.path()) {
        let file = AtomicFile::new(&path, folder.path().join("temporary"));
        assert!(file.replace(b"new").unwrap_err().is_not_regular(), "{kind}");
        assert!(file.reserve(1).unwrap_err().is_not_regular(), "{kind}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("target")).unwrap(), "untouched");
}

#[cfg(target_os = "linux")]
#[test]
fn full_disk_is_reported_before_the_commit() {
    use crate::small_disk::{fill, on_small_disk};

    on_small_disk("replace::full_disk_is_reported_before_the_commit", "size=256k", |disk| {
        fs::write(disk.join("state"), "old").unwrap();
        for free in [0, 1, 4096, RESERVED_BYTES - 4096] {
            fill(disk, free);
            let error = atomic_file(disk).reserve(RESERVED_BYTES).unwrap_err();
            assert!(error.is_storage_full() && error.to_string().contains("state.tmp': no space left"), "{error}");
            assert_eq!(crate::file_names(disk), ["ballast", "state"], "the temporary file is removed");
        }
        fill(disk, RESERVED_BYTES);
        let reservation = atomic_file(disk).reserve(RESERVED_BYTES).unwrap();
        // The reservation has filled the disk for other files.
        assert!(fs::write(disk.join("another"), "x").is_err());
        reservation.commit(&vec![7; 64 * 1024]).unwrap();
        assert_eq!(fs::metadata(disk.join("state")).unwrap().len(), RESERVED_BYTES);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn disk_that_fills_up_during_a_write_keeps_the_old_content() {
    use crate::small_disk::{fill, on_small_disk};

    on_small_disk("replace::disk_that_fills_up_during_a_write_keeps_the_old_content", "size=256k", |disk| {
        fs::write(disk.join("state"), "old").unwrap();
        fill(disk, 8192);
        let error = atomic_file(disk).replace(&vec![7; 64 * 1024]).unwrap_err();
        assert!(error.is_storage_full(), "{error}");
        let error = atomic_file(disk).reserve(4096).unwrap().commit(&vec![7; 64 * 1024]).unwrap_err();
        assert!(error.is_storage_full(), "{error}");
        assert_eq!(fs::read_to_string(disk.join("state")).unwrap(), "old");
        assert_eq!(crate::file_names(disk), ["ballast", "state"]);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn file_size_limit_is_an_error_and_not_a_signal() {
    use std::process::Command;

    const FOLDER: &str = "DURABLE_FS_TEST_LIMITED";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let file = atomic_file(Path::new(&folder));
        assert!(file.reserve(RESERVED_BYTES).unwrap_err().is_storage_full());
        assert!(file.replace(&[7; 9000]).unwrap_err().is_storage_full());
        return file.reserve(4096).unwrap().commit(b"new").unwrap();
    }
    let fixture = Fixture::new();
    let mut command = Command::new("sh");
    // The unit of `ulimit -f` is 512 or 1024 bytes, depending on the shell.
    command.args(["-c", "ulimit -f 8; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    command.args(["replace::file_size_limit_is_an_error_and_not_a_signal", "--exact", "--nocapture"]);
    let output = command.env(FOLDER, fixture.0.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((fixture.content().as_str(), crate::file_names(fixture.0.path())), ("new", vec!["state".to_owned()]));
}
