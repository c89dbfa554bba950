//! Tests of a session, and values for the tests of the modules.

use std::path::Path;

use platform_download::{Crc32c, Sha256};
use platform_resources::models::Run;
use platform_resources::{ResultFolder, Timestamp};
use serde_json::json;

use super::local::LocalRuns;
use super::session::{SAVE_INTERVAL, Session};
use super::state::ListMarks;
use super::target::LockedTarget;

pub(super) fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Returns a terminated run with results.
pub(super) fn run(id: &str, terminated_at: Option<&str>) -> Run {
    let run = json!({
        "run_id": id, "application_id": "tissue", "version_number": "1.0.0", "state": "TERMINATED", "output": "FULL",
        "termination_reason": "ALL_ITEMS_PROCESSED", "error_code": null, "error_message": null,
        "statistics": {
            "item_count": 1, "item_pending_count": 0, "item_processing_count": 0, "item_user_error_count": 0,
            "item_system_error_count": 0, "item_skipped_count": 0, "item_succeeded_count": 1,
        },
        "submitted_at": terminated_at.unwrap_or("2026-11-25T08:00:00Z"), "submitted_by": "user",
        "terminated_at": terminated_at,
    });
    serde_json::from_value(run).unwrap()
}

pub(super) fn list_marks(mark: &str) -> ListMarks {
    ListMarks { mark: moment(mark), at: moment(mark), full_at: moment(mark) }
}

/// Returns a session of a folder with a recorded file. A run was completed after the last write of the state.
async fn session(path: &Path) -> Session {
    let mut folder = ResultFolder::open(path).await.unwrap();
    let entry = json!({
        "run": "a", "application": "tissue", "version": "1.0.0", "item": "a", "artifact": "x", "file": "a/a/x.csv",
        "bytes": 0, "crc32c": Crc32c::default(), "verification": "declared", "sha256": Sha256::of(b""),
        "at": "2026-11-25T08:00:00Z",
    });
    folder.record(serde_json::from_value(entry).unwrap()).await.unwrap();
    let mut local = LocalRuns::of(path).unwrap();
    local.state.record_complete(&run("a", None), std::time::SystemTime::UNIX_EPOCH);
    Session::new(local, LockedTarget::Folder(folder), "query".to_owned())
}

#[tokio::test(start_paused = true)]
async fn large_state_is_not_written_after_each_run() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join(".aignostics/sync.json");
    let mut session = session(folder.path()).await;
    session.save_if_due().await.unwrap();
    assert!(!state.exists());
    tokio::time::advance(SAVE_INTERVAL).await;
    session.save_if_due().await.unwrap();
    assert!(state.exists());
    session.local.state.record_complete(&run("b", None), std::time::SystemTime::UNIX_EPOCH);
    session.save_if_due().await.unwrap();
    session.finish(true).await.unwrap();
    assert!(LocalRuns::of(folder.path()).unwrap().state.is_settled(&"b".into()));
}

#[tokio::test]
#[cfg(unix)]
async fn state_is_not_written_after_the_lock_was_lost() {
    use durable_fs::faults::{Fault, Operation};

    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join(".aignostics.lock");
    // On a file system without locks, another process takes over the lease of a suspended one.
    let fault = Fault::inject(Operation::Lock, lock.clone(), rustix::io::Errno::NOTSUP.raw_os_error());
    let mut session = session(folder.path()).await;
    drop(fault);
    session.save().await.unwrap();
    let state = folder.path().join(".aignostics/sync.json");
    let written = std::fs::read(&state).unwrap();
    let lease = folder.path().join(".aignostics.lock.lease");
    std::fs::remove_file(&lease).unwrap();
    std::fs::write(lease, "other").unwrap();
    session.local.state.record_complete(&run("b", None), std::time::SystemTime::UNIX_EPOCH);
    let error = session.save().await.unwrap_err();
    assert!(error.folder().is_some(), "{error}");
    assert_eq!(std::fs::read(state).unwrap(), written);
    session.finish(true).await.unwrap_err();
}

#[tokio::test]
#[cfg(unix)]
async fn state_is_not_written_before_the_manifest_is_durable() {
    use durable_fs::faults::{Fault, Operation};

    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join(".aignostics/sync.json");
    let mut session = session(folder.path()).await;
    let number = rustix::io::Errno::IO.raw_os_error();
    let fault = Fault::inject(Operation::SyncFile, folder.path().join("manifest.jsonl"), number);
    session.save().await.unwrap_err();
    assert!(!state.exists());
    drop(fault);
    session.save().await.unwrap();
    assert!(state.exists());
}
