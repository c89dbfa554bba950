use platform_api::models::{Item, ItemState, ItemTerminationReason};

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

impl std::fmt::Display for ItemOutcome {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
