//! Runs and their items, as they are kept.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

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
    /// Why the platform canceled the run.
    #[serde(default)]
    pub(crate) error: Option<RunError>,
    #[serde(default)]
    pub(crate) results_deleted_at: Option<Timestamp>,
    /// Kept as records of their own, as they change one by one.
    #[serde(skip)]
    pub(crate) items: Vec<Item>,
}

#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Scheduling {
    #[serde(default)]
    pub(crate) due_date: Option<Timestamp>,
    #[serde(default)]
    pub(crate) deadline: Option<Timestamp>,
}

/// When a run ended, and why.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub(crate) struct RunEnd {
    pub(crate) at: Timestamp,
    pub(crate) reason: RunEndReason,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum RunEndReason {
    AllItemsProcessed,
    CanceledBySystem,
    CanceledByUser,
}

/// The reason of the platform for canceling a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RunError {
    pub(crate) error_code: String,
    pub(crate) error_message: String,
}

impl Default for RunError {
    fn default() -> Self {
        let (code, message) = ("SYSTEM.CANCELED", "The platform canceled the run.");
        Self { error_code: code.to_owned(), error_message: message.to_owned() }
    }
}

/// Who deleted the results of a run.
#[derive(Clone, Copy)]
pub(crate) enum Deleted {
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
    /// It has been sent back from PROCESSING to PENDING.
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
    /// The run was cancelled before it was its turn.
    Skipped,
}

/// Why an item brought no results.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) enum Failure {
    /// The input is at fault.
    User(String),
    /// The application is.
    System(String),
}

#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct OutputArtifact {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// Where the file lies in the bucket of the organisation.
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

/// Results are kept for so long after the end of a run.
const KEPT: jiff::SignedDuration = jiff::SignedDuration::from_hours(30 * 24);

impl Run {
    /// Whether the results are there no more, and why.
    pub(crate) fn deleted(&self, now: Timestamp) -> Option<Deleted> {
        let expired = |end: RunEnd| now.duration_since(end.at) >= KEPT;
        match self.results_deleted_at {
            Some(_) => Some(Deleted::ByUser),
            None => self.end.is_some_and(expired).then_some(Deleted::BySystem),
        }
    }

    /// The items that wait, in their order.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| matches!(item.progress, Progress::Pending))
    }

    pub(crate) fn count(&self, fits: impl Fn(&Progress) -> bool) -> usize {
        self.items.iter().filter(|item| fits(&item.progress)).count()
    }
}
