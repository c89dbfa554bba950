//! The results of a synchronization.

use auth_core::error_chain;
use platform_resources::models::{Run, RunId};
use platform_resources::{DeletedFiles, ItemOutcome, ItemReport, RunReport, Verdict};

use crate::error::Error;

/// The state of a run after a synchronization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncStatus {
    /// All results that the run has are in the folder. Its items may have failed.
    Fetched,
    /// Some results could not be fetched. The next call tries again.
    Pending,
    /// Some results were deleted before they were fetched. All others are in the folder. Later calls do not report the
    /// run again.
    Lost,
}

/// A run that was synchronized.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SyncedRun {
    /// The run, as it was listed.
    pub run: Run,
    /// Its state after the synchronization.
    pub status: SyncStatus,
    /// The number of its result files in the folder.
    pub files: usize,
    /// The number of files that this call fetched.
    pub fetched: usize,
    /// The total length of its files, in bytes.
    pub bytes: u64,
    /// The numbers of files that were deleted before they were fetched.
    pub deleted: DeletedFiles,
    /// True if all files have the checksum that the platform declares.
    pub is_verified: bool,
    /// True if a file could not be written.
    pub is_local_failure: bool,
    /// True if all items succeeded.
    pub has_succeeded: bool,
    /// The failures, one line each: of items, of files that were not fetched or verified, and of the run. Deleted files
    /// are only counted, in `deleted`.
    pub failures: Vec<String>,
}

/// A pending run of an earlier call, whose request failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnreadRun {
    /// The run.
    pub run_id: RunId,
    /// True if the run no longer exists for the user. Later calls request it only if it is listed again.
    pub is_gone: bool,
    /// The error of the request.
    pub failure: String,
}

/// The result of a synchronization.
#[derive(Debug)]
#[non_exhaustive]
pub struct SyncReport {
    /// The synchronized runs, in the order in which the platform deletes their results.
    pub runs: Vec<SyncedRun>,
    /// The pending runs of earlier calls whose requests failed.
    pub unread: Vec<UnreadRun>,
    /// The error that stopped the synchronization: for example, the disk is full, or the platform is unavailable or
    /// rejected the login.
    pub stopped: Option<Error>,
    /// The last transient error of a run that did not stop the synchronization.
    pub unavailable: Option<Error>,
}

impl SyncReport {
    pub(super) fn new(unread: Vec<UnreadRun>) -> Self {
        Self { runs: Vec::new(), unread, stopped: None, unavailable: None }
    }

    /// Returns true if the results of all runs are in the folder, and all of their items succeeded.
    pub fn is_complete(&self) -> bool {
        self.stopped.is_none() && self.unread.is_empty() && self.runs.iter().all(SyncedRun::is_complete)
    }
}

impl SyncedRun {
    /// Returns true if all results are in the folder and all items of the run succeeded.
    pub fn is_complete(&self) -> bool {
        self.status == SyncStatus::Fetched && self.has_succeeded
    }

    /// Creates the result of a run whose download failed as a whole.
    pub(super) fn failed(run: Run, error: &platform_resources::Error) -> Self {
        let is_local_failure = error.folder().is_some();
        Self { failures: vec![error_chain(error)], is_local_failure, ..Self::empty(run, SyncStatus::Pending) }
    }

    fn empty(run: Run, status: SyncStatus) -> Self {
        Self {
            run,
            status,
            files: 0,
            fetched: 0,
            bytes: 0,
            deleted: DeletedFiles::default(),
            is_verified: true,
            is_local_failure: false,
            has_succeeded: true,
            failures: Vec::new(),
        }
    }

    /// Creates the result of a download.
    pub(super) fn of(run: Run, report: &RunReport) -> Self {
        let deleted = report.deleted();
        let has_other_failures = report.failures().count() > deleted.count() || report.manifest.is_err();
        // The response may come from a replica that does not have all items yet.
        let lacks_items =
            report.items.len() + report.left_out < report.item_count || report.items.iter().any(may_get_results);
        let status = match deleted.count() {
            _ if has_other_failures || lacks_items => SyncStatus::Pending,
            0 => SyncStatus::Fetched,
            _ => SyncStatus::Lost,
        };
        let artifacts = report.items.iter().flat_map(|item| &item.artifacts);
        let outcomes: Vec<_> = artifacts.filter_map(|artifact| artifact.outcome.as_ref().ok()).collect();
        let mut failures = report.problems();
        let unfinished_items = report.items.iter().filter(|item| may_get_results(item));
        failures.extend(unfinished_items.map(|item| format!("{}: its results are not final", item.external_id)));
        Self {
            files: outcomes.len(),
            fetched: outcomes.iter().filter(|outcome| !outcome.already_present).count(),
            bytes: outcomes.iter().map(|outcome| outcome.bytes).sum(),
            deleted,
            is_verified: report.is_verified(),
            is_local_failure: matches!(report.verdict(), Verdict::DiskFull | Verdict::LocalFailure),
            has_succeeded: report.have_items_succeeded(),
            failures,
            ..Self::empty(run, status)
        }
    }
}

/// Returns true if an item may get further results.
fn may_get_results(item: &ItemReport) -> bool {
    item.outcome == ItemOutcome::InProgress || item.has_unknown
}
