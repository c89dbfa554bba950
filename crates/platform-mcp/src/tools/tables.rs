//! Tables of slides.

use std::path::PathBuf;

use durable_fs::regular;
use platform_pipeline::{Draft, ObjectKeys, SelectedApplication, SubmissionSource};
use platform_resources::models::{ApplicationId, VersionNumber};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Call;
use crate::error::ToolError;
use crate::shared::Shared;

/// The maximum size of a table or a submission, in bytes.
const MAX_TABLE_BYTES: usize = 64 * 1024 * 1024;

/// A table, and its application.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableArguments {
    /// Id of the application, from `list_applications`
    application_id: String,
    /// Version; the latest one by default
    version_number: Option<String>,
    /// Path of the table (CSV), or of a submission in JSON. Slides need not be uploaded yet
    file: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Validation {
    /// True if the table can be submitted after its slides are uploaded.
    valid: bool,
    application_id: String,
    version_number: String,
    item_count: usize,
    /// The problems, line by line.
    problems: Vec<String>,
    /// The columns that the application does not use.
    unused_columns: Vec<String>,
}

/// The draft of a submission, with its application and the content of its file.
pub(super) struct TableDraft {
    pub(super) draft: Draft,
    pub(super) application: SelectedApplication,
    /// The bytes of the file.
    pub(super) content: Vec<u8>,
}

/// Reads a table or a submission for an application. `permits_missing` permits slides that are not uploaded yet.
pub(super) async fn read_draft(
    shared: &Shared,
    application: &str,
    version: Option<&str>,
    file: &str,
    permits_missing: bool,
) -> Result<TableDraft, ToolError> {
    let content = read_content(shared, file).await?;
    let path = PathBuf::from(file);
    let source = SubmissionSource::parse(content.clone(), &path)?;
    let (id, version) = (ApplicationId::from(application), version.map(VersionNumber::from));
    let application = SelectedApplication::find(&shared.client, &id, version.as_ref()).await?;
    let keys = ObjectKeys::new(&shared.client, &application, &shared.bucket_user).await?;
    let draft = source.draft(&path, &application, &keys, permits_missing)?;
    Ok(TableDraft { draft, application, content })
}

/// Reads the bytes of a table.
pub(super) async fn read_content(shared: &Shared, file: &str) -> Result<Vec<u8>, ToolError> {
    let path = shared.folders.resolve(file)?;
    run_blocking(move || {
        let content = regular::read(&path, MAX_TABLE_BYTES)?;
        let content = content.ok_or_else(|| ToolError::new(format!("'{}' does not exist", path.display())))?;
        Ok(content.bytes().to_vec())
    })
    .await?
}

/// Runs `work` on a thread for blocking calls.
pub(super) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ToolError> {
    Ok(tokio::task::spawn_blocking(work).await?)
}

pub(super) async fn validate(shared: &Shared, arguments: TableArguments, _: &Call) -> Result<Validation, ToolError> {
    let TableArguments { application_id, version_number, file } = arguments;
    let table = read_draft(shared, &application_id, version_number.as_deref(), &file, true).await?;
    let (number, unused_columns) = (table.application.number().to_owned(), table.draft.unused_columns().to_vec());
    let item_count = table.draft.submission.items.len();
    let problems = match table.draft.check(&shared.client).await {
        Ok(_) => Vec::new(),
        Err(error) if error.is_input() => {
            let details: Vec<_> = error.details().iter().map(ToString::to_string).collect();
            if details.is_empty() { vec![error.to_string()] } else { details }
        }
        Err(error) => return Err(error.into()),
    };
    let valid = problems.is_empty();
    Ok(Validation { valid, application_id, version_number: number, item_count, problems, unused_columns })
}
