//! Users, runs, items and results that are loaded when an emulator starts. The fields have the same names
//! as in the API.

mod export;
mod load;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::config::{OrganizationConfig, UserConfig};
use crate::state::run::{RunEndReason, Scheduling};

/// Users, runs, items and results. [`EmulatorBuilder::with_fixture`](crate::EmulatorBuilder::with_fixture) loads them,
/// and [`Emulator::export`](crate::Emulator::export) writes them. `docs/emulator.md` describes the format.
///
/// ```
/// let fixture: platform_emulator::Fixture = serde_json::from_str(r#"{ "runs": [{
///     "application_id": "outcomes",
///     "termination_reason": "ALL_ITEMS_PROCESSED",
///     "items": [{
///         "external_id": "slide-1",
///         "termination_reason": "SUCCEEDED",
///         "output_artifacts": [{ "name": "report", "media_type": "text/plain", "content": "fine" }]
///     }]
/// }] }"#).unwrap();
/// ```
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fixture {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) organizations: Vec<OrganizationConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) users: Vec<UserConfig>,
    runs: Vec<FixtureRun>,
}

/// The debug output contains only counts, because signed URLs of inputs are secrets.
impl fmt::Debug for Fixture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (users, runs) = (self.users.len(), self.runs.len());
        formatter.debug_struct("Fixture").field("users", &users).field("runs", &runs).finish_non_exhaustive()
    }
}

/// A run. It is processed unless it has a termination reason.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct FixtureRun {
    #[serde(default)]
    run_id: Option<Uuid>,
    application_id: String,
    /// The number of the version; the latest version by default.
    #[serde(default)]
    version_number: Option<String>,
    /// The id of a user; the first user by default.
    #[serde(default)]
    submitted_by: Option<String>,
    #[serde(default)]
    submitted_at: Option<Timestamp>,
    #[serde(default)]
    custom_metadata: Value,
    #[serde(default)]
    scheduling: Option<Scheduling>,
    #[serde(default)]
    termination_reason: Option<RunEndReason>,
    #[serde(default)]
    terminated_at: Option<Timestamp>,
    #[serde(default)]
    error_code: Option<String>,
    #[serde(default)]
    error_message: Option<String>,
    #[serde(default)]
    results_deleted_at: Option<Timestamp>,
    items: Vec<FixtureItem>,
}

/// An item. It is pending unless it has a termination reason.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct FixtureItem {
    #[serde(default)]
    item_id: Option<Uuid>,
    external_id: String,
    #[serde(default)]
    custom_metadata: Value,
    #[serde(default)]
    termination_reason: Option<ItemEndReason>,
    #[serde(default)]
    error_message: Option<String>,
    #[serde(default)]
    terminated_at: Option<Timestamp>,
    #[serde(default)]
    input_artifacts: Vec<FixtureInput>,
    #[serde(default)]
    output_artifacts: Vec<FixtureFile>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ItemEndReason {
    Succeeded,
    UserError,
    SystemError,
    Skipped,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct FixtureInput {
    #[serde(default)]
    input_artifact_id: Option<Uuid>,
    name: String,
    download_url: String,
    #[serde(default)]
    metadata: Value,
}

/// A result with its content: as text, in base64, or generated.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct FixtureFile {
    #[serde(default)]
    output_artifact_id: Option<Uuid>,
    name: String,
    media_type: String,
    #[serde(flatten)]
    content: Content,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
enum Content {
    #[serde(rename = "content")]
    Text(String),
    #[serde(rename = "content_base64")]
    Base64(String),
    #[serde(rename = "generated")]
    Generated { seed: u64, size_bytes: u64 },
    /// The file was deleted.
    #[serde(rename = "deleted")]
    Deleted(Value),
}
