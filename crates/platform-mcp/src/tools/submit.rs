//! Submissions within the budget.

use std::sync::Arc;

use platform_pipeline::{Observer, RunOptions, UniqueSubmission};
use platform_resources::{Initiator, RunSdkMetadata};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::confirmation::{self, Confirmation, ProposedSubmission};
use super::{Call, ToolOutput, tables};
use crate::budget::BudgetUsage;
use crate::error::ToolError;
use crate::shared::Shared;

/// A table to submit.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubmitArguments {
    /// Id of the application, from `list_applications`
    application_id: String,
    /// Version; the latest one by default
    version_number: Option<String>,
    /// Path of the table (CSV), or of a submission in JSON, whose slides are uploaded
    file: String,
    /// Tags of the run
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Submission {
    run_id: String,
    /// False if the same table was submitted before: `run_id` is the earlier run, and nothing is billed again.
    submitted: bool,
    slides: u64,
    /// The used part of the budget.
    used: BudgetUsage,
}

pub(super) async fn submit(shared: &Shared, arguments: SubmitArguments, call: &Call) -> Result<ToolOutput, ToolError> {
    let Some(budget) = shared.budget.clone() else { return Err(ToolError::new("submissions are not allowed")) };
    let SubmitArguments { application_id, version_number, file, tags } = arguments;
    let table = Box::pin(tables::read_draft(shared, &application_id, version_number.as_deref(), &file, false)).await?;
    let checked = table.draft.clone().check(&shared.client).await?;
    let slides = checked.items.len() as u64;
    let version = table.application.number().to_owned();
    let (application, content) = (application_id.as_str(), table.content.as_slice());
    let proposal = ProposedSubmission { application, version: &version, slides, tags: &tags, file: &file, content };
    match confirmation::ask_user(shared, call, &proposal).await? {
        // The file was read before the question. If it has changed since, the agent may have meant the new content.
        Confirmation::Accepted if tables::read_content(shared, &file).await? != table.content => {
            return Err(confirmation::changed_error());
        }
        Confirmation::Accepted | Confirmation::NotSupported => {}
        Confirmation::Declined => {
            return Err(ToolError::new("the user did not confirm the submission; nothing was submitted"));
        }
        Confirmation::Pending(question) => return Ok(ToolOutput::Question(question)),
    }
    let client = Shared::client_name(call.context());
    // Errors before the reservation use up no budget.
    let me = shared.client.me().await?;
    let sdk =
        RunSdkMetadata::new(concat!("aignostics-mcp/", env!("CARGO_PKG_VERSION"))).with_initiator(Initiator::User);
    let options = RunOptions::new(sdk.with_user(&me)).with_tags(tags);
    // The version is resolved, so that the digest of the submission does not depend on whether the agent named it.
    let submission =
        UniqueSubmission::for_content(&shared.client, table.draft, Some(&version), &options, false).await?;
    let (content, shared_budget) = (table.content, budget.clone());
    let reserve = move || {
        // The content of a submission includes its organization, its user and its version.
        let parts = [me.organization.id.as_str(), me.user.id.as_str(), version.as_str()].map(str::as_bytes);
        shared_budget.reserve(&client, &application_id, slides, &[&parts[..], &[&content]].concat())
    };
    let reservation = tables::run_blocking(reserve).await??;
    let observer: Observer = Arc::new(|_| {});
    // A task of its own, so that the request is completed and its outcome recorded even if the client disconnects.
    let submitting = tokio::spawn(async move {
        let submitted = Box::pin(submission.submit(&observer)).await;
        let ledger_update = match &submitted {
            Ok(submitted) => {
                let (run, is_new) = (submitted.run.id().to_string(), submitted.is_new);
                tokio::task::spawn_blocking(move || reservation.settle(&run, is_new)).await
            }
            // Only a submission that the platform certainly did not accept is removed from the ledger.
            Err(error) if error.is_input() => tokio::task::spawn_blocking(move || reservation.release()).await,
            Err(_) => Ok(Ok(())),
        };
        if let Ok(Err(error)) = ledger_update {
            tracing::warn!(%error, "the budget file was not updated; the entry of the submission remains");
        }
        submitted
    });
    let submitted = submitting.await??;
    let used = tables::run_blocking(move || budget.used()).await??;
    let run_id = submitted.run.id().to_string();
    ToolOutput::from_result(&Submission { run_id, submitted: submitted.is_new, slides, used })
}
