use std::sync::Arc;

/// The progress of a call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// The completed amount of work, in a unit that the tool chooses. It never decreases.
    pub done: f64,
    /// The total amount of work in the same unit, or `None` if the tool does not report it.
    pub total: Option<f64>,
    /// A message for the user, or `None` if the tool does not send one.
    pub message: Option<String>,
}

/// A callback for progress.
pub(crate) type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;
