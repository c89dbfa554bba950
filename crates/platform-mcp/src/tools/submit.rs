//! Submissions within the budget.

use std::sync::Arc;

use platform_pipeline::{Observer, RunOptions, UniqueSubmission};
use platform_resources::{Initiator, RunSdkMetadata};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::confirmation::{self, Confirmation, Subject};
use super::{Call, Output, tables};
use crate::budget::Used;
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
    used: Used,
}

pub(super) async fn submit(shared: &Shared, arguments: SubmitArguments, call: &Call) -> Result<Output, ToolError> {
    let Some(budget) = shared.budget.clone() else { return Err(ToolError::new("submissions are not allowed")) };
    let SubmitArguments { application_id, version_number, file, tags } = arguments;
    let read = Box::pin(tables::read(shared, &application_id, version_number.as_deref(), &file, false)).await?;
    let checked = read.draft.clone().check(&shared.client).await?;
    let slides = checked.items.len() as u64;
    let version = read.application.number().to_owned();
    let (application, content) = (application_id.as_str(), read.content.as_slice());
    let subject = Subject { application, version: &version, slides, tags: &tags, file: &file, content };
    match confirmation::ask(shared, call, &subject).await? {
        // What is submitted was read before the question. The agent may have meant what the file contains now.
        Confirmation::Yes if tables::content(shared, &file).await? != read.content => {
            return Err(confirmation::changed());
        }
        Confirmation::Yes | Confirmation::NotSupported => {}
        Confirmation::No => {
            return Err(ToolError::new("the user did not confirm the submission; nothing was submitted"));
        }
        Confirmation::Pending(question) => return Ok(Output::Asks(question)),
    }
    let client = Shared::client_name(call.context());
    // Errors until here cost no room.
    let me = shared.client.me().await?;
    let sdk =
        RunSdkMetadata::new(concat!("aignostics-mcp/", env!("CARGO_PKG_VERSION"))).with_initiator(Initiator::User);
    let options = RunOptions::new(sdk.with_user(&me)).with_tags(tags);
    // The resolved version, so that a submission has one digest whether or not the agent named the version.
    let submission = UniqueSubmission::for_content(&shared.client, read.draft, Some(&version), &options, false).await?;
    let (content, entered) = (read.content, budget.clone());
    // The parts that distinguish submissions.
    let reserving = move || {
        let parts = [me.organization.id.as_str(), me.user.id.as_str(), version.as_str()].map(str::as_bytes);
        entered.reserve(&client, &application_id, slides, &[&parts[..], &[&content]].concat())
    };
    let reservation = tables::on_a_thread(reserving).await??;
    let observer: Observer = Arc::new(|_| {});
    // A request that was sent is not canceled: its outcome is recorded, even if the client goes away.
    let submitting = tokio::spawn(async move {
        let submitted = Box::pin(submission.submit(&observer)).await;
        let recorded = match &submitted {
            Ok(submitted) => {
                let (run, is_new) = (submitted.run.id().to_string(), submitted.is_new);
                tokio::task::spawn_blocking(move || reservation.settle(&run, is_new)).await
            }
            // Only a submission that was certainly not accepted gives its room back.
            Err(error) if error.is_input() => tokio::task::spawn_blocking(move || reservation.release()).await,
            Err(_) => Ok(Ok(())),
        };
        if let Ok(Err(error)) = recorded {
            tracing::warn!(%error, "the budget file was not updated; the submission stays entered");
        }
        submitted
    });
    let submitted = submitting.await??;
    let used = tables::on_a_thread(move || budget.used()).await??;
    Output::of(&Submission { run_id: submitted.run.id().to_string(), submitted: submitted.is_new, slides, used })
}
