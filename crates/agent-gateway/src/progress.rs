use std::sync::Arc;

/// The progress of a call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// The completed amount, in a unit of the tool. It never decreases.
    pub done: f64,
    /// The total amount, if the tool states it.
    pub total: Option<f64>,
    /// A message of the tool.
    pub message: Option<String>,
}

/// A callback for progress.
pub(crate) type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;
