use std::collections::BTreeSet;

use futures_util::stream::TryStreamExt;
use platform_api::models::OutputArtifact;
use platform_download::Pattern;

use crate::error::{Error, UnmatchedKind, UnmatchedSelection};
use crate::run::RunHandle;

/// The metadata keys of an artifact's media type, in order of precedence.
const TYPE_KEYS: [&str; 2] = ["media_type", "mime_type"];

/// A selection of a run's results by item, artifact name and media type. A result is selected if it matches at least
/// one value of each kind of condition that is set. The default selects all results.
///
/// ```
/// use platform_resources::Selection;
///
/// // The tables and outlines of two slides.
/// let selection = Selection::default()
///     .with_item("a.tiff")
///     .with_item("b.tiff")
///     .with_artifact("tissue_*".parse()?)
///     .with_media_type("text/csv")
///     .with_media_type("application/geo+json");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Selection {
    items: Vec<String>,
    artifacts: Vec<Pattern>,
    media_types: Vec<String>,
}

impl Selection {
    /// Selects the item with this external id. If no item has it, selects the only item whose external id is a path
    /// with this file name.
    pub fn with_item(mut self, external_id: impl Into<String>) -> Self {
        self.items.push(external_id.into());
        self
    }

    /// Selects artifacts whose names match a pattern.
    pub fn with_artifact(mut self, name: Pattern) -> Self {
        self.artifacts.push(name);
        self
    }

    /// Selects artifacts of this media type (RFC 6838). Parameters of media types are ignored.
    pub fn with_media_type(mut self, media_type: impl Into<String>) -> Self {
        self.media_types.push(essence(&media_type.into()));
        self
    }

    /// Returns the selection with the complete external ids of its items.
    ///
    /// # Errors
    ///
    /// [`Error::unmatched_selection`]: an item does not exist, or several items have this file name. Otherwise the
    /// request failed.
    pub(super) async fn resolved(&self, run: &RunHandle) -> Result<Self, Error> {
        if self.items.is_empty() {
            return Ok(self.clone());
        }
        let existing_ids: Vec<String> =
            run.clone().no_cache().items().map_ok(|item| item.external_id).try_collect().await?;
        let existing_ids: BTreeSet<_> = existing_ids.into_iter().collect();
        let items = self.items.iter().map(|item| resolve_external_id(item, &existing_ids)).collect::<Result<_, _>>()?;
        Ok(Self { items, ..self.clone() })
    }

    /// Returns an error if the selected items have artifacts, but no artifact is selected.
    pub(super) fn check_artifacts(&self, unselected: &BTreeSet<String>, selected_count: usize) -> Result<(), Error> {
        if selected_count > 0 || unselected.is_empty() {
            return Ok(());
        }
        let patterns = self.artifacts.iter().map(ToString::to_string);
        let wanted = patterns.chain(self.media_types.iter().cloned()).collect::<Vec<_>>().join("', '");
        let existing = unselected.iter().cloned().collect();
        Err(UnmatchedSelection { kind: UnmatchedKind::Artifact, wanted, existing }.into())
    }

    pub(super) fn has_item(&self, external_id: &str) -> bool {
        self.items.is_empty() || self.items.iter().any(|item| item == external_id)
    }

    pub(super) fn has_artifact(&self, artifact: &OutputArtifact) -> bool {
        let is_name_selected =
            self.artifacts.is_empty() || self.artifacts.iter().any(|name| name.matches(&artifact.name));
        let is_type_selected = || self.media_types.contains(&essence(media_type(artifact).unwrap_or_default()));
        is_name_selected && (self.media_types.is_empty() || is_type_selected())
    }
}

/// Returns the external id that `wanted` selects: `wanted` itself, or the only external id with this file name.
fn resolve_external_id(wanted: &str, existing: &BTreeSet<String>) -> Result<String, Error> {
    if existing.contains(wanted) {
        return Ok(wanted.to_owned());
    }
    let ids_with_file_name: Vec<_> =
        existing.iter().filter(|id| id.rsplit(['/', '\\']).next() == Some(wanted)).cloned().collect();
    let (kind, existing) = match ids_with_file_name.as_slice() {
        [only] => return Ok(only.clone()),
        [] => (UnmatchedKind::Item, existing.iter().cloned().collect()),
        _ => (UnmatchedKind::Ambiguous, ids_with_file_name),
    };
    Err(UnmatchedSelection { kind, wanted: wanted.to_owned(), existing }.into())
}

/// Returns a media type without its parameters.
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Returns the media type in the metadata of an artifact.
pub(super) fn media_type(artifact: &OutputArtifact) -> Option<&str> {
    let metadata = artifact.metadata.as_ref()?;
    TYPE_KEYS.iter().find_map(|key| metadata.get(*key)?.as_str())
}
