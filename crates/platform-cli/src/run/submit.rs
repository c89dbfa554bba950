use std::path::PathBuf;

use clap::Args;
use platform_pipeline::{Draft, RunOptions, SubmissionSource, UniqueSubmission};
use platform_resources::models::{ApplicationId, Run};
use platform_resources::{Client, RunHandle};
use serde_json::json;

use super::application_args::{HealthCheckArgs, VersionArgs};
use super::events::observer;
use super::object_keys::UploadArgs;
use super::options::RunOptionArgs;
use super::validate;
use crate::context::Context;
use crate::detached::detached;
use crate::error::CliError;
use crate::sanitize::sanitize;

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
    force: HealthCheckArgs,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let file = arguments.file.clone();
    let source = detached(move || SubmissionSource::read(&file)).await??;
    let client = context.client()?;
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
    validate::print(&draft.check(client).await?, context)
}

/// Submits once for the content or a key, or finds the run of an earlier submission.
async fn submit(
    client: &Client,
    draft: Draft,
    options: &RunOptions,
    arguments: &Arguments,
    context: &Context,
) -> Result<(), CliError> {
    let version = arguments.version.application_version.as_ref().map(platform_resources::models::VersionNumber::as_str);
    let stated = &draft.submission;
    let stated = (stated.application_id.clone(), stated.version_number.clone().unwrap_or_default());
    let submission = match &arguments.once {
        Some(key) => UniqueSubmission::for_key(client, key, draft, version, options).await?,
        None => UniqueSubmission::for_content(client, draft, version, options, arguments.resubmit).await?,
    };
    let submitted = Box::pin(submission.submit(&observer(&context.output))).await?;
    context.interruption.follow(submitted.run.id(), format!("aignostics run wait {}", submitted.run.id()));
    // The id of a new run is printed without another request, which a signal could interrupt.
    let (application, version) = if submitted.is_new {
        context.output.note(format!("submitted a run of {} {}", stated.0, stated.1));
        stated
    } else {
        report_found(arguments, context);
        let Run { application_id, version_number, .. } = submitted.run.get().await?;
        (application_id, version_number.as_str().to_owned())
    };
    print(&submitted.run, &application, &version, &submitted.token, submitted.is_new, context)
}

/// Reports that nothing was submitted, and the options without effect. With a key, tags are compared.
fn report_found(arguments: &Arguments, context: &Context) {
    let again = if arguments.once.is_some() { "" } else { "; --resubmit submits it again" };
    context.output.note(format!("nothing was submitted{again}"));
    let names = arguments.options.set().into_iter();
    let names: Vec<_> = names.filter(|name| arguments.once.is_none() || *name != "--tags").collect();
    if !names.is_empty() {
        context.output.note(format!("ignored, because nothing was submitted: {}", names.join(", ")));
    }
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
    arguments.force.check(client, context).await?;
    let application = arguments.version.of(client, &arguments.application).await?;
    let keys = UploadArgs::default().keys(client, &application, arguments.options.portal()).await?;
    Ok(source.draft(&arguments.file, &application, &keys, false)?)
}

fn print(
    run: &RunHandle,
    application: &ApplicationId,
    version: &str,
    token: &str,
    is_new: bool,
    context: &Context,
) -> Result<(), CliError> {
    let shape = json!({
        "run_id": run.id(), "application_id": application, "version_number": version,
        "submitted": is_new, "submission_token": token,
    });
    context.output.one(&shape, || sanitize(run.id()))
}
