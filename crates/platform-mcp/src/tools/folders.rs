//! Results folders.

use platform_download::FileState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Call;
use crate::error::ToolError;
use crate::shared::Shared;

/// The maximum number of files in a list of the result.
const MAX_LISTED: usize = 100;

/// A results folder.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FolderArguments {
    /// Path of the folder with the results and the manifest
    folder: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Verification {
    /// True if all files of the manifest exist and are unchanged.
    intact: bool,
    file_count: usize,
    /// The files that are not intact, at most 100.
    problems: Vec<Problem>,
    /// The files that are not in the manifest, at most 100.
    unlisted: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct Problem {
    file: String,
    /// `changed`, `missing`, `unreadable` or `outside`.
    state: String,
    reason: Option<String>,
}

pub(super) async fn verify(shared: &Shared, arguments: FolderArguments, _: &Call) -> Result<Verification, ToolError> {
    let folder = shared.folders.resolve(&arguments.folder)?;
    let check = platform_download::verify(folder).await?;
    let problems = check.files.iter().filter(|file| file.state != FileState::Intact).map(|file| Problem {
        file: file.entry.file.clone(),
        state: match file.state {
            FileState::Changed => "changed",
            FileState::Missing => "missing",
            FileState::Unreadable => "unreadable",
            _ => "outside",
        }
        .to_owned(),
        reason: file.reason.clone(),
    });
    Ok(Verification {
        intact: check.is_intact() && !check.files.is_empty(),
        file_count: check.files.len(),
        problems: problems.take(MAX_LISTED).collect(),
        unlisted: check.unlisted.iter().take(MAX_LISTED).map(|path| path.display().to_string()).collect(),
    })
}
