//! Validation and submission of a table or a submission in JSON.

use std::path::PathBuf;

use clap::Args;
use platform_pipeline::{Draft, RunOptions, SubmissionSource, UniqueSubmission};
use platform_resources::Client;
use platform_resources::models::{Run, RunSubmission, VersionNumber};
use serde_json::json;
use terminal::input::detached;
use terminal::sanitize;

use super::events::observer;
use super::options::{HealthCheckArgs, RunOptionArgs, UploadArgs, VersionArgs};
use crate::context::Context;
use crate::error::CliError;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Id of the application
    #[arg(value_name = "APPLICATION")]
    application: String,
    /// Table of the slides, or a submission in JSON; `-` is stdin. `gs://` URLs of the organization's bucket are signed
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    version: VersionArgs,
    /// Validate everything and submit nothing
    #[arg(long)]
    dry_run: bool,
    /// Idempotency key, instead of the content. A different table, application or set of tags under the same key is an
    /// error
    #[arg(long, value_name = "KEY", conflicts_with = "dry_run")]
    once: Option<String>,
    /// Submit again even if it was submitted before; it is billed again
    #[arg(long, conflicts_with_all = ["dry_run", "once"])]
    resubmit: bool,
    #[command(flatten)]
    options: RunOptionArgs,
    #[command(flatten)]
    health_check: HealthCheckArgs,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let file = arguments.file.clone();
    let source = detached(move || SubmissionSource::read(&file)).await??;
    let client = context.write_client()?;
    let draft = Box::pin(draft(source, &client, &arguments, context)).await?;
    for column in draft.unused_columns() {
        context.output.note(format!("the application does not use the column '{column}'"));
    }
    let options = arguments.options.run_options(&client.me().await?);
    if arguments.dry_run {
        check(&client, draft, &options, context).await
    } else {
        submit(&client, draft, &options, &arguments, context).await
    }
}

/// Validates everything without submitting.
async fn check(client: &Client, mut draft: Draft, options: &RunOptions, context: &Context) -> Result<(), CliError> {
    options.apply(&mut draft.submission)?;
    print_valid(&draft.check(client).await?, context)
}

/// Submits the draft once for its content or for a key, or finds the run of an earlier submission.
async fn submit(
    client: &Client,
    draft: Draft,
    options: &RunOptions,
    arguments: &Arguments,
    context: &Context,
) -> Result<(), CliError> {
    let version = arguments.version.application_version.as_ref().map(VersionNumber::as_str);
    let submission = &draft.submission;
    let requested = (submission.application_id.clone(), submission.version_number.clone().unwrap_or_default());
    let submission = match &arguments.once {
        Some(key) => UniqueSubmission::for_key(client, key, draft, version, options).await?,
        None => UniqueSubmission::for_content(client, draft, version, options, arguments.resubmit).await?,
    };
    let submitted = Box::pin(submission.submit(&observer(&context.output))).await?;
    context.interruption.follow(submitted.run.id(), format!("aignostics run wait {}", submitted.run.id()));
    // The id of a new run is printed without another request, because a signal could interrupt that request.
    let (application, version) = if submitted.is_new {
        context.output.note(format!("submitted a run of {} {}", requested.0, requested.1));
        requested
    } else {
        note_earlier_submission(arguments, context);
        let Run { application_id, version_number, .. } = submitted.run.get().await?;
        (application_id, version_number.as_str().to_owned())
    };
    let run = submitted.run.id();
    let value = json!({
        "run_id": run, "application_id": application, "version_number": version,
        "submitted": submitted.is_new, "submission_token": submitted.token,
    });
    Ok(context.output.print_object(&value, || sanitize(run))?)
}

/// Reports that nothing was submitted, and which options have no effect. `--once` compares the tags with those of the
/// earlier submission.
fn note_earlier_submission(arguments: &Arguments, context: &Context) {
    let (resubmission_hint, compared): (_, &[_]) =
        if arguments.once.is_some() { ("", &["--tags"]) } else { ("; --resubmit submits it again", &[]) };
    context.output.note(format!("nothing was submitted{resubmission_hint}"));
    arguments.options.note_ignored(&context.output, compared);
}

/// Returns the submission without its options.
async fn draft(
    source: SubmissionSource,
    client: &Client,
    arguments: &Arguments,
    context: &Context,
) -> Result<Draft, CliError> {
    if let SubmissionSource::Table(table) = &source {
        table.notes().iter().for_each(|note| context.output.note(note));
    }
    arguments.health_check.check(client, context).await?;
    let application = arguments.version.resolve(client, &arguments.application).await?;
    let keys = UploadArgs::default().object_keys(client, &application, arguments.options.shows_in_portal()).await?;
    Ok(source.draft(&arguments.file, &application, &keys, false)?)
}

#[derive(Args)]
pub(crate) struct ValidateArgs {
    /// Id of the application
    #[arg(value_name = "APPLICATION")]
    application: String,
    /// Table of the slides, or a submission in JSON; `-` is stdin. Slides need not be uploaded yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    version: VersionArgs,
    #[command(flatten)]
    upload: UploadArgs,
    #[command(flatten)]
    options: RunOptionArgs,
}

pub(crate) async fn validate(arguments: ValidateArgs, context: &Context) -> Result<(), CliError> {
    let file = arguments.file.clone();
    let source = detached(move || SubmissionSource::read(&file)).await??;
    if let SubmissionSource::Table(table) = &source {
        table.notes().iter().for_each(|note| context.output.note(note));
    }
    let client = context.read_client()?;
    let application = arguments.version.resolve(&client, &arguments.application).await?;
    let keys = arguments.upload.object_keys(&client, &application, arguments.options.shows_in_portal()).await?;
    let mut draft = source.draft(&arguments.file, &application, &keys, true)?;
    for column in draft.unused_columns() {
        context.output.note(format!("the application does not use the column '{column}'"));
    }
    arguments.options.run_options(&client.me().await?).apply(&mut draft.submission)?;
    print_valid(&draft.check(&client).await?, context)
}

/// Prints the submission that would be sent.
fn print_valid(submission: &RunSubmission, context: &Context) -> Result<(), CliError> {
    let RunSubmission { application_id, version_number, items, .. } = submission;
    let value = json!({
        "valid": true, "application_id": application_id, "version_number": version_number, "item_count": items.len(),
    });
    let version = version_number.as_deref().unwrap_or_default();
    Ok(context.output.print_object(&value, || format!("{} items match {application_id} {version}", items.len()))?)
}
