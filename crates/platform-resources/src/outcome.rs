use std::fmt;

use platform_api::models::{
    ArtifactOutput, ArtifactTerminationReason, Item, ItemState, ItemTerminationReason, OutputArtifact, Run, RunState,
    RunTerminationReason,
};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The party that performed an action or caused a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Actor {
    /// A user.
    User,
    /// The platform.
    System,
}

/// The result of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// The change was made by this call.
    Applied,
    /// The change was made before: by another caller, or by an earlier attempt of this call whose response was lost.
    /// The platform responds with 409, or with 410 for results.
    AlreadyApplied,
}

impl ChangeOutcome {
    pub(crate) fn of<T>(outcome: Result<T, Error>) -> Result<Self, Error> {
        match outcome {
            Ok(_) => Ok(Self::Applied),
            Err(error) if error.api().is_some_and(platform_api::ApiError::is_already_done) => Ok(Self::AlreadyApplied),
            Err(error) => Err(error),
        }
    }
}

/// The outcome of a run. A run that has ended has not necessarily succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunOutcome {
    /// The run has not ended yet.
    InProgress,
    /// All items succeeded.
    Completed,
    /// Some items succeeded.
    CompletedWithErrors,
    /// No item succeeded. The value is `System` if at least one item failed because of the application or the platform,
    /// and `User` if all items failed because of their inputs.
    Failed(Actor),
    /// The run was canceled.
    Cancelled(Actor),
    /// The run has ended for a reason that this version does not know, or without a reason.
    Unknown(Option<String>),
}

impl RunOutcome {
    /// Returns a stable name of the outcome, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::CompletedWithErrors => "completed_with_errors",
            Self::Failed(Actor::User) => "failed_by_user_error",
            Self::Failed(Actor::System) => "failed_by_system_error",
            Self::Cancelled(Actor::User) => "cancelled_by_user",
            Self::Cancelled(Actor::System) => "cancelled_by_system",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Returns the outcome of `run`.
    pub fn of(run: &Run) -> Self {
        if run.state != RunState::Terminated {
            return Self::InProgress;
        }
        let counts = &run.statistics;
        match &run.termination_reason {
            Some(RunTerminationReason::CanceledByUser) => Self::Cancelled(Actor::User),
            Some(RunTerminationReason::CanceledBySystem) => Self::Cancelled(Actor::System),
            Some(RunTerminationReason::AllItemsProcessed) if counts.item_succeeded_count == counts.item_count => {
                Self::Completed
            }
            Some(RunTerminationReason::AllItemsProcessed) if counts.item_succeeded_count > 0 => {
                Self::CompletedWithErrors
            }
            Some(RunTerminationReason::AllItemsProcessed) if counts.item_system_error_count > 0 => {
                Self::Failed(Actor::System)
            }
            Some(RunTerminationReason::AllItemsProcessed) => Self::Failed(Actor::User),
            other => Self::Unknown(other.as_ref().map(ToString::to_string)),
        }
    }
}

/// The outcome of an item. An item that has ended has not necessarily succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[non_exhaustive]
pub enum ItemOutcome {
    /// The item has not ended yet.
    InProgress,
    /// The item was processed, and its artifacts are available.
    Succeeded,
    /// The input of the item cannot be processed.
    UserError,
    /// The application or the platform failed.
    SystemError,
    /// The run was canceled before this item was processed.
    Skipped,
    /// The item has ended for a reason that this version does not know, or without a reason.
    Unknown(Option<String>),
}

impl ItemOutcome {
    /// Returns a stable name of the outcome, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Succeeded => "succeeded",
            Self::UserError => "user_error",
            Self::SystemError => "system_error",
            Self::Skipped => "skipped",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Returns the outcome of `item`.
    pub fn of(item: &Item) -> Self {
        if item.state != ItemState::Terminated {
            return Self::InProgress;
        }
        match &item.termination_reason {
            Some(ItemTerminationReason::Succeeded) => Self::Succeeded,
            Some(ItemTerminationReason::UserError) => Self::UserError,
            Some(ItemTerminationReason::SystemError) => Self::SystemError,
            Some(ItemTerminationReason::Skipped) => Self::Skipped,
            other => Self::Unknown(other.as_ref().map(ToString::to_string)),
        }
    }
}

/// The availability of an artifact's file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArtifactOutcome {
    /// The file is available.
    Available,
    /// The file was deleted.
    Deleted(Actor),
    /// The file does not exist, because the item was not processed yet or was skipped.
    NotCreated,
    /// The file could not be created, because of the input of the item (`User`), or because the application or the
    /// platform failed (`System`).
    Failed(Actor),
    /// The platform reported a state that this version does not know.
    Unknown(String),
}

impl ArtifactOutcome {
    /// Returns the availability of the file of `artifact`.
    pub fn of(artifact: &OutputArtifact) -> Self {
        match (&artifact.output, &artifact.termination_reason) {
            (ArtifactOutput::Available, _) => Self::Available,
            (ArtifactOutput::DeletedByUser, _) => Self::Deleted(Actor::User),
            (ArtifactOutput::DeletedBySystem, _) => Self::Deleted(Actor::System),
            (ArtifactOutput::None, Some(ArtifactTerminationReason::UserError)) => Self::Failed(Actor::User),
            (ArtifactOutput::None, Some(ArtifactTerminationReason::SystemError)) => Self::Failed(Actor::System),
            (ArtifactOutput::None, _) => Self::NotCreated,
            (output, _) => Self::Unknown(output.to_string()),
        }
    }
}

impl fmt::Display for ItemOutcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::InProgress => "in progress",
            Self::Succeeded => "succeeded",
            Self::UserError => "user error",
            Self::SystemError => "system error",
            Self::Skipped => "skipped",
            Self::Unknown(None) => "unknown",
            Self::Unknown(Some(reason)) => reason,
        })
    }
}

impl fmt::Display for RunOutcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::InProgress => "in progress",
            Self::Completed => "completed",
            Self::CompletedWithErrors => "completed with errors",
            Self::Failed(Actor::User) => "failed: user error",
            Self::Failed(Actor::System) => "failed: system error",
            Self::Cancelled(Actor::User) => "canceled by a user",
            Self::Cancelled(Actor::System) => "canceled by the platform",
            Self::Unknown(None) => "unknown",
            Self::Unknown(Some(reason)) => reason,
        })
    }
}
