//! Records of runs and items.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::clock::truncated_to_microseconds;

#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Run {
    pub(crate) id: Uuid,
    pub(crate) application: String,
    pub(crate) version: String,
    pub(crate) custom_metadata: Value,
    pub(crate) scheduling: Option<Scheduling>,
    pub(crate) submitted_at: Timestamp,
    pub(crate) submitted_by: String,
    pub(crate) organization: String,
    pub(crate) end: Option<RunEnd>,
    /// The platform's reason for canceling the run.
    #[serde(default)]
    pub(crate) error: Option<RunError>,
    #[serde(default)]
    pub(crate) results_deleted_at: Option<Timestamp>,
    /// The items are stored as separate records, because they change individually.
    #[serde(skip)]
    pub(crate) items: Vec<Item>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Scheduling {
    #[serde(default)]
    pub(crate) due_date: Option<Timestamp>,
    #[serde(default)]
    pub(crate) deadline: Option<Timestamp>,
}

impl Scheduling {
    /// Returns the times, truncated to the resolution of the platform.
    pub(crate) fn truncated_to_microseconds(self) -> Self {
        let Self { due_date, deadline } = self;
        Self { due_date: due_date.map(truncated_to_microseconds), deadline: deadline.map(truncated_to_microseconds) }
    }
}

/// The time and the reason of a run's end.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub(crate) struct RunEnd {
    pub(crate) at: Timestamp,
    pub(crate) reason: RunEndReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum RunEndReason {
    AllItemsProcessed,
    CanceledBySystem,
    CanceledByUser,
}

/// The platform's reason for canceling a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RunError {
    pub(crate) error_code: String,
    pub(crate) error_message: String,
}

impl Default for RunError {
    fn default() -> Self {
        Self::new("SYSTEM.CANCELED", "The platform canceled the run.".to_owned())
    }
}

impl RunError {
    fn new(code: &str, message: String) -> Self {
        Self { error_code: code.to_owned(), error_message: message }
    }

    /// Returns the error of a run in which more than `limit` items have errors.
    pub(crate) fn too_many_errors(limit: usize) -> Self {
        let message = format!("The platform canceled the run: more than {limit} items have errors.");
        Self::new("SCHEDULER.ITEMS_WITH_ERROR_THRESHOLD_REACHED", message)
    }

    /// Returns the error of a run whose deadline has passed. The platform does not document the code of this error.
    pub(crate) fn deadline_exceeded(deadline: Timestamp) -> Self {
        let message = format!("The platform canceled the run: its deadline, {deadline}, has passed.");
        Self::new("SCHEDULER.DEADLINE_EXCEEDED", message)
    }
}

/// The cause of the deletion of results.
#[derive(Clone, Copy)]
pub(crate) enum Deletion {
    ByUser,
    BySystem,
}

#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Item {
    pub(crate) id: Uuid,
    pub(crate) external_id: String,
    pub(crate) custom_metadata: Value,
    pub(crate) inputs: Vec<InputArtifact>,
    pub(crate) progress: Progress,
    pub(crate) terminated_at: Option<Timestamp>,
    /// True if the item has returned from PROCESSING to PENDING once.
    #[serde(default)]
    pub(crate) interrupted: bool,
}

#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct InputArtifact {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) download_url: String,
    pub(crate) metadata: Value,
}

#[derive(Clone, Deserialize, Serialize)]
pub(crate) enum Progress {
    Pending,
    Processing,
    Succeeded(Vec<OutputArtifact>),
    Failed(Failure),
    /// The run was canceled before this item was processed.
    Skipped,
}

/// The reason why an item has no results.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) enum Failure {
    /// The input is invalid.
    User(String),
    /// The application failed.
    System(String),
}

#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct OutputArtifact {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// The object key of the file, in the platform's bucket for results.
    pub(crate) key: String,
    pub(crate) metadata: Value,
}

impl Item {
    pub(crate) fn artifacts(&self) -> &[OutputArtifact] {
        match &self.progress {
            Progress::Succeeded(artifacts) => artifacts,
            _ => &[],
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.progress, Progress::Pending | Progress::Processing)
    }
}

/// The retention time of results after the end of a run.
const RETENTION: jiff::SignedDuration = jiff::SignedDuration::from_hours(30 * 24);

impl Run {
    /// Returns the cause of the deletion of the results, or `None` if they are not deleted.
    pub(crate) fn results_deletion(&self, now: Timestamp) -> Option<Deletion> {
        let has_expired = |end: RunEnd| now.duration_since(end.at) >= RETENTION;
        match self.results_deleted_at {
            Some(_) => Some(Deletion::ByUser),
            None => self.end.is_some_and(has_expired).then_some(Deletion::BySystem),
        }
    }

    /// Returns the pending items, in order.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| matches!(item.progress, Progress::Pending))
    }

    pub(crate) fn count(&self, is_match: impl Fn(&Progress) -> bool) -> usize {
        self.items.iter().filter(|item| is_match(&item.progress)).count()
    }
}
