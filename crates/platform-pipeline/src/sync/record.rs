//! The JSON of synchronized runs. `docs/schemas/synced.json` describes it.

use std::fmt;

use platform_resources::models::{ApplicationId, Run, RunId, VersionNumber};
use platform_resources::{DeletedFiles, Timestamp};
use serde::{Serialize, Serializer};

use super::report::{SyncReport, SyncStatus, SyncedRun};
use crate::error::Error;

/// A run whose results a synchronization would download.
#[derive(Clone, Copy, Debug)]
pub struct PlannedRun<'a>(&'a Run);

impl<'a> From<&'a Run> for PlannedRun<'a> {
    fn from(run: &'a Run) -> Self {
        Self(run)
    }
}

/// The JSON members that planned and synchronized runs have in common.
#[derive(Serialize)]
struct RunSummary<'a> {
    run_id: &'a RunId,
    application_id: &'a ApplicationId,
    version_number: &'a VersionNumber,
    submitted_at: Timestamp,
    terminated_at: Option<Timestamp>,
    status: &'static str,
    item_count: i64,
    item_succeeded_count: i64,
}

impl<'a> RunSummary<'a> {
    fn of(run: &'a Run, status: &'static str) -> Self {
        Self {
            run_id: &run.run_id,
            application_id: &run.application_id,
            version_number: &run.version_number,
            submitted_at: run.submitted_at,
            terminated_at: run.terminated_at,
            status,
            item_count: run.statistics.item_count,
            item_succeeded_count: run.statistics.item_succeeded_count,
        }
    }
}

impl Serialize for PlannedRun<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RunSummary::of(self.0, "planned").serialize(serializer)
    }
}

impl Serialize for SyncedRun {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct SyncedRunRecord<'a> {
            #[serde(flatten)]
            summary: RunSummary<'a>,
            complete: bool,
            verified: bool,
            files: usize,
            fetched: usize,
            bytes: u64,
            deleted: DeletedFiles,
            failures: &'a [String],
        }
        let record = SyncedRunRecord {
            summary: RunSummary::of(&self.run, self.status.name()),
            complete: self.is_complete(),
            verified: self.is_verified,
            files: self.files,
            fetched: self.fetched,
            bytes: self.bytes,
            deleted: self.deleted,
            failures: &self.failures,
        };
        record.serialize(serializer)
    }
}

impl SyncStatus {
    fn name(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Pending => "pending",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for SyncStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl SyncReport {
    /// Returns an error if results are missing or items failed. Local causes take precedence over transient errors, and
    /// these over missing results.
    ///
    /// # Errors
    ///
    /// The error in [`stopped`](Self::stopped) or [`unavailable`](Self::unavailable), results that cannot be written,
    /// or [`Error::is_incomplete`].
    pub fn check(self) -> Result<(), Error> {
        let is_complete = self.is_complete();
        let Self { runs, unread, stopped, unavailable } = self;
        if let Some(error) = stopped {
            return Err(error);
        }
        if runs.iter().any(|run| run.is_local_failure) {
            return Err(Error::unwritten());
        }
        if is_complete {
            return Ok(());
        }
        if let Some(error) = unavailable {
            return Err(error);
        }
        let run_count = runs.len() + unread.len();
        let incomplete = runs.iter().filter(|run| !run.is_complete()).count() + unread.len();
        let mut message = format!("{incomplete} of {run_count} runs are not complete");
        let deleted = runs.iter().map(|run| run.deleted).fold(DeletedFiles::default(), |sum, deleted| sum + deleted);
        if deleted.count() > 0 {
            message += &format!("; {deleted}");
        }
        for run in &unread {
            message += &format!("; run {}: {}", run.run_id, run.failure);
        }
        Err(Error::incomplete(message, Vec::new()))
    }
}
