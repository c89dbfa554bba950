use std::fmt;

/// A problem of an invalid submission.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The external id of the item; `None` for a problem with the run.
    pub item: Option<String>,
    /// The path to the value in the item or the run, such as `input_artifacts/0/metadata/width_px`.
    pub path: String,
    /// The description of the problem.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { item, path, message } = self;
        match item {
            Some(item) => write!(formatter, "item {item}, {path}: {message}"),
            None => write!(formatter, "{path}: {message}"),
        }
    }
}
