use platform_api::models::OutputArtifact;
use platform_download::Pattern;

use super::artifact::media_type;

/// Which results of a run are wanted. Each kind of condition that is set must be met, by one of its values.
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
    /// The item that its submitter gave this name.
    pub fn with_item(mut self, external_id: impl Into<String>) -> Self {
        self.items.push(external_id.into());
        self
    }

    /// The artifacts whose names a pattern fits.
    pub fn with_artifact(mut self, name: Pattern) -> Self {
        self.artifacts.push(name);
        self
    }

    /// The artifacts of this media type (RFC 6838), whatever its parameters are.
    pub fn with_media_type(mut self, media_type: impl Into<String>) -> Self {
        self.media_types.push(essence(&media_type.into()));
        self
    }

    pub(super) fn has_item(&self, external_id: &str) -> bool {
        self.items.is_empty() || self.items.iter().any(|item| item == external_id)
    }

    pub(super) fn has_artifact(&self, artifact: &OutputArtifact) -> bool {
        let named = self.artifacts.is_empty() || self.artifacts.iter().any(|name| name.fits(&artifact.name));
        let is_typed = || self.media_types.contains(&essence(media_type(artifact).unwrap_or_default()));
        named && (self.media_types.is_empty() || is_typed())
    }
}

/// A media type without its parameters.
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
