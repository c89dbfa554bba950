/// The error of a selection that matches no item or no artifact of a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", match kind {
    UnmatchedKind::Item => format!("the run has no item '{wanted}'"),
    UnmatchedKind::Ambiguous => format!("the run has several items named '{wanted}'"),
    UnmatchedKind::Artifact => format!("no artifact of the selected items matches '{wanted}'"),
})]
pub struct UnmatchedSelection {
    pub(crate) kind: UnmatchedKind,
    pub(crate) wanted: String,
    pub(crate) existing: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnmatchedKind {
    Item,
    Ambiguous,
    Artifact,
}

impl UnmatchedSelection {
    /// Returns the external id, file name, patterns or media types without a match.
    pub fn wanted(&self) -> &str {
        &self.wanted
    }

    /// Returns the names that can be selected: the existing items or artifacts, or the items with the ambiguous file
    /// name.
    pub fn existing(&self) -> &[String] {
        &self.existing
    }
}
