//! Remarks about slides, and the rejection of slides that may identify a patient.

use std::collections::BTreeSet;
use std::path::PathBuf;

use slide_metadata::{Identifier, IdentifierKind, SlideDescription, Warning};

/// Remarks about a slide in use.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SlideRemarks {
    /// The file.
    pub path: PathBuf,
    /// Warnings about its structure and its resolution.
    pub warnings: Vec<Warning>,
    /// Data that may identify a patient.
    pub identifiers: Vec<Identifier>,
}

impl SlideRemarks {
    pub(crate) fn of(path: PathBuf, description: SlideDescription) -> Self {
        Self { path, warnings: description.warnings, identifiers: description.identifiers }
    }

    /// Returns true without remarks.
    pub fn is_empty(&self) -> bool {
        self.warnings.is_empty() && self.identifiers.is_empty()
    }
}

/// The policy for slides that may identify a patient.
#[derive(Clone, Debug, Default)]
pub(crate) struct Privacy {
    /// True if such slides are unusable.
    pub(crate) refuses: bool,
    pub(crate) allowed: Vec<IdentifierKind>,
}

impl Privacy {
    /// Returns the reason to reject a slide, if any.
    pub(crate) fn refusal(&self, identifiers: &[Identifier]) -> Option<String> {
        let found = identifiers.iter().filter(|found| self.refuses && !self.allowed.contains(&found.kind));
        let kinds: BTreeSet<_> = found.map(|found| found.kind).collect();
        let kinds: Vec<_> = kinds.into_iter().map(IdentifierKind::name).collect();
        let text = "it may identify a patient; `aignostics slide inspect` shows where";
        (!kinds.is_empty()).then(|| format!("{text}, and --allow {} accepts it", kinds.join(",")))
    }
}
