use std::fmt;

use platform_api::models::{
    ArtifactOutput, ArtifactTerminationReason, Item, ItemState, ItemTerminationReason, OutputArtifact, Run, RunState,
    RunTerminationReason,
};

use crate::Error;

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A user.
    User,
    /// The platform.
    System,
}

/// Whether a change was made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was.
    Now,
    /// It was made before: by another caller, or by an attempt of this call whose response was lost. The platform answers
    /// 409 then, and 410 for results.
    Before,
}

impl Done {
    pub(crate) fn of<T>(outcome: Result<T, Error>) -> Result<Self, Error> {
        match outcome {
            Ok(_) => Ok(Self::Now),
            Err(error) if error.api().is_some_and(platform_api::ApiError::is_already_done) => Ok(Self::Before),
            Err(error) => Err(error),
        }
    }
}

/// How a run ended. That it has ended does not mean that it succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunOutcome {
    /// It has not ended yet.
    InProgress,
    /// All its items succeeded.
    Completed,
    /// Some of its items succeeded.
    CompletedWithErrors,
    /// None of its items succeeded, and at least one failed through the application or the platform, or all through their
    /// inputs.
    Failed(By),
    /// It was cancelled.
    Cancelled(By),
    /// It ended for a reason that a newer platform knows, or for none.
    Unknown(Option<String>),
}

impl RunOutcome {
    /// How `run` ended.
    pub fn of(run: &Run) -> Self {
        if run.state != RunState::Terminated {
            return Self::InProgress;
        }
        let counts = &run.statistics;
        match &run.termination_reason {
            Some(RunTerminationReason::CanceledByUser) => Self::Cancelled(By::User),
            Some(RunTerminationReason::CanceledBySystem) => Self::Cancelled(By::System),
            Some(RunTerminationReason::AllItemsProcessed) if counts.item_succeeded_count == counts.item_count => {
                Self::Completed
            }
            Some(RunTerminationReason::AllItemsProcessed) if counts.item_succeeded_count > 0 => {
                Self::CompletedWithErrors
            }
            Some(RunTerminationReason::AllItemsProcessed) if counts.item_system_error_count > 0 => {
                Self::Failed(By::System)
            }
            Some(RunTerminationReason::AllItemsProcessed) => Self::Failed(By::User),
            other => Self::Unknown(other.as_ref().map(ToString::to_string)),
        }
    }
}

/// How an item ended. That it has ended does not mean that it succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ItemOutcome {
    /// It has not ended yet.
    InProgress,
    /// Its artifacts are there.
    Succeeded,
    /// Its input cannot be processed.
    UserError,
    /// The application or the platform failed.
    SystemError,
    /// The run was cancelled before.
    Skipped,
    /// It ended for a reason that a newer platform knows, or for none.
    Unknown(Option<String>),
}

impl ItemOutcome {
    /// How `item` ended.
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

/// Whether the file of an artifact is there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArtifactOutcome {
    /// It is.
    Available,
    /// It was, and is deleted.
    Deleted(By),
    /// It has not been made yet, or will not be: the item was skipped.
    NotMade,
    /// It could not be made: because of the input of the item, or because the application or the platform failed.
    Failed(By),
    /// What a newer platform says of it.
    Unknown(String),
}

impl ArtifactOutcome {
    /// Whether the file of `artifact` is there.
    pub fn of(artifact: &OutputArtifact) -> Self {
        match (&artifact.output, &artifact.termination_reason) {
            (ArtifactOutput::Available, _) => Self::Available,
            (ArtifactOutput::DeletedByUser, _) => Self::Deleted(By::User),
            (ArtifactOutput::DeletedBySystem, _) => Self::Deleted(By::System),
            (ArtifactOutput::None, Some(ArtifactTerminationReason::UserError)) => Self::Failed(By::User),
            (ArtifactOutput::None, Some(ArtifactTerminationReason::SystemError)) => Self::Failed(By::System),
            (ArtifactOutput::None, _) => Self::NotMade,
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
            Self::Failed(By::User) => "failed: user error",
            Self::Failed(By::System) => "failed: system error",
            Self::Cancelled(By::User) => "cancelled by a user",
            Self::Cancelled(By::System) => "cancelled by the platform",
            Self::Unknown(None) => "unknown",
            Self::Unknown(Some(reason)) => reason,
        })
    }
}
