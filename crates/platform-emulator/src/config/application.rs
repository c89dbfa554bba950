//! Applications of the configuration.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Config;

/// The ids of the built-in applications.
const BUILT_IN: &[&str] = &[
    #[cfg(feature = "images")]
    "tissue",
    #[cfg(feature = "images")]
    "he-tme",
    #[cfg(feature = "images")]
    "test-app",
    "outcomes",
    "many-files",
    "huge-file",
];

/// An application of the configuration. It replaces a built-in application with the same id.
///
/// ```
/// let config: platform_emulator::Config = toml::from_str(r##"
///     [[applications]]
///     id = "nuclei"
///     organizations = ["org_emulator"]
///     outputs = [{ name = "nuclei:count", media_type = "text/csv", content = "slide,nuclei\n" }]
///
///     [[applications.versions]]
///     number = "2.0.0"
///     documents = [{ name = "guide.md", media_type = "text/markdown", content = "# Nuclei" }]
/// "##).unwrap();
/// assert_eq!(config.applications[0].versions[0].number, "2.0.0");
/// ```
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationConfig {
    /// The id.
    pub id: String,
    /// The display name. The default is the id.
    #[serde(default)]
    pub name: Option<String>,
    /// The description.
    #[serde(default)]
    pub description: Option<String>,
    /// The ids of the organizations that can use the application. Empty, the default, means all organizations.
    #[serde(default)]
    pub organizations: Vec<String>,
    /// The id of the built-in application that provides the processing, and also the schema and the outputs if they are
    /// not set. The default is `outcomes`.
    #[serde(default)]
    pub like: Option<String>,
    /// The JSON Schema of the metadata of an input.
    #[serde(default)]
    pub metadata_schema: Option<Value>,
    /// The outcome of items whose metadata do not specify one. Used only if [`like`](Self::like) is `outcomes`.
    #[serde(default)]
    pub outcome: Outcome,
    /// The results of a successful item. Used only if [`like`](Self::like) is `outcomes`.
    #[serde(default)]
    pub outputs: Vec<FileConfig>,
    /// The versions, latest first. The default is one version, 1.0.0.
    #[serde(default)]
    pub versions: Vec<VersionConfig>,
}

/// The outcome of an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// The item has results.
    #[default]
    Succeeded,
    /// The input is faulty.
    UserError,
    /// The application failed.
    SystemError,
}

/// A version of an application.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct VersionConfig {
    /// The number: a semantic version.
    pub number: String,
    /// The release time (RFC 3339).
    #[serde(default = "released_at")]
    pub released_at: String,
    /// The description of the changes.
    #[serde(default)]
    pub changelog: String,
    /// The documents. By default, the version has the same two documents as the versions of built-in applications.
    #[serde(default)]
    pub documents: Vec<FileConfig>,
}

/// A file with its content.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The name.
    pub name: String,
    /// The media type.
    pub media_type: String,
    /// The content, as text.
    #[serde(default)]
    pub content: String,
}

pub(crate) fn released_at() -> String {
    "2026-03-01T12:00:00Z".to_owned()
}

impl ApplicationConfig {
    /// Returns the problems of the application, one sentence each.
    pub(super) fn problems(&self, config: &Config) -> Vec<String> {
        let id = &self.id;
        let mut problems = Vec::new();
        if id.is_empty() || config.applications.iter().filter(|other| other.id == *id).count() > 1 {
            problems.push(format!("the id of an application, `{id}`, must be unique and not empty"));
        }
        if self.like.as_ref().is_some_and(|like| !BUILT_IN.contains(&like.as_str())) {
            problems.push(format!("application `{id}`: `like` must be one of {}", BUILT_IN.join(", ")));
        }
        let is_known = |id: &String| config.organizations.iter().any(|organization| organization.id == *id);
        for organization in self.organizations.iter().filter(|id| !is_known(id)) {
            problems.push(format!("application `{id}`: unknown organization `{organization}`"));
        }
        if let Some(Err(error)) = self.metadata_schema.as_ref().map(jsonschema::validator_for) {
            problems.push(format!("application `{id}`: the metadata_schema is not a JSON Schema: {error}"));
        }
        for VersionConfig { number, released_at, .. } in &self.versions {
            if !is_semantic_version(number) {
                problems.push(format!("application `{id}`: `{number}` is not a semantic version"));
            }
            if released_at.parse::<jiff::Timestamp>().is_err() {
                problems.push(format!("application `{id}`: `{released_at}` is not a time"));
            }
        }
        problems
    }
}

/// Returns true if the text is a semantic version according to <https://semver.org>. Numbers may have any length.
pub(crate) fn is_semantic_version(version: &str) -> bool {
    static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let (number, identifier) = ("(?:0|[1-9][0-9]*)", "(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)");
        let pre_release = format!(r"(?:-{identifier}(?:\.{identifier})*)?");
        let build = r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?";
        Regex::new(&format!(r"^{number}\.{number}\.{number}{pre_release}{build}$")).ok()
    });
    PATTERN.as_ref().is_some_and(|pattern| pattern.is_match(version))
}
