//! Remarks about slides, and the rejection of slides that may identify a patient.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};
use slide_metadata::{Identifier, IdentifierKind, SlideDescription, Warning};

/// Remarks about a usable slide.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SlideRemarks {
    /// The file.
    pub path: PathBuf,
    /// Warnings about the structure and the resolution of the slide.
    pub warnings: Vec<Warning>,
    /// Data in the slide that may identify a patient.
    pub identifiers: Vec<Identifier>,
}

impl SlideRemarks {
    pub(crate) fn of(path: PathBuf, description: SlideDescription) -> Self {
        Self { path, warnings: description.warnings, identifiers: description.identifiers }
    }

    /// Returns true if there are neither warnings nor identifiers.
    pub fn is_empty(&self) -> bool {
        self.warnings.is_empty() && self.identifiers.is_empty()
    }
}

/// Returns warnings as JSON.
pub(crate) fn warnings(warnings: &[Warning]) -> Vec<Value> {
    warnings.iter().map(|warning| json!({ "name": warning.name(), "text": warning.to_string() })).collect()
}

/// Returns identifying data as JSON.
pub(crate) fn identifiers(identifiers: &[Identifier]) -> Vec<Value> {
    identifiers.iter().map(|identifier| json!({ "kind": identifier.kind.name(), "place": identifier.place })).collect()
}

/// The policy for slides that may identify a patient.
#[derive(Clone, Debug, Default)]
pub(crate) struct Privacy {
    /// True if slides with identifiers are unusable, unless the kind of the identifier is in `allowed`.
    pub(crate) rejects_identifiers: bool,
    pub(crate) allowed: Vec<IdentifierKind>,
}

impl Privacy {
    /// Returns the reason to reject a slide with these identifiers, or `None` if the slide is accepted.
    pub(crate) fn refusal(&self, identifiers: &[Identifier]) -> Option<String> {
        let is_rejected =
            |identifier: &&Identifier| self.rejects_identifiers && !self.allowed.contains(&identifier.kind);
        let kinds: BTreeSet<_> = identifiers.iter().filter(is_rejected).map(|identifier| identifier.kind).collect();
        let kinds: Vec<_> = kinds.into_iter().map(IdentifierKind::name).collect();
        let text = "it may identify a patient; `aignostics slide inspect` shows where";
        (!kinds.is_empty()).then(|| format!("{text}, and --allow {} accepts it", kinds.join(",")))
    }
}
