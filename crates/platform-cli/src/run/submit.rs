use std::path::PathBuf;

use clap::Args;
use platform_pipeline::{Draft, KeyedSubmission, RunOptions, SubmissionSource};
use platform_resources::models::{ApplicationId, Run};
use platform_resources::{Client, RunHandle};
use serde_json::json;

use super::events::observer;
use super::input::{Force, Version};
use super::object_keys::UploadArgs;
use super::options::Options;
use super::validate;
use crate::access::Shell;
use crate::exit::Failure;
use crate::shown::shown;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The application that the slides are for.
    #[arg(value_name = "APPLICATION")]
    application: String,
    /// The table of the slides, or a submission in JSON; `-` is stdin. `gs://` URLs of the organisation's bucket are signed.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    version: Version,
    /// Checks everything, and submits nothing.
    #[arg(long)]
    dry_run: bool,
    /// Submits once for this key: called again with it, on any machine, it finds the first run and submits
    /// nothing. Another table, application or other tags under the same key are an error.
    #[arg(long, value_name = "KEY", conflicts_with = "dry_run")]
    once: Option<String>,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    force: Force,
}

pub(crate) async fn run(arguments: Arguments, shell: &Shell) -> Result<(), Failure> {
    let source = SubmissionSource::read(&arguments.file)?;
    let client = shell.client()?;
    let draft = Box::pin(draft(source, &client, &arguments, shell)).await?;
    for column in draft.unused_columns() {
        shell.output.note(format!("the application does not use the column '{column}'"));
    }
    let options = arguments.options.run_options(&client.me().await?);
    match &arguments.once {
        Some(key) => once(&client, draft, &options, key, &arguments, shell).await,
        None => submit(&client, draft, &options, &arguments, shell).await,
    }
}

/// Submits a run, or only checks it.
async fn submit(
    client: &Client,
    draft: Draft,
    options: &RunOptions,
    arguments: &Arguments,
    shell: &Shell,
) -> Result<(), Failure> {
    let version = arguments.version.application_version.as_ref().map(platform_resources::models::VersionNumber::as_str);
    let (checked, token) = Box::pin(draft.described(client, version, options)).await?;
    if arguments.dry_run {
        return validate::print(&checked, shell);
    }
    let (application, version) = (checked.application_id.clone(), checked.version_number.clone().unwrap_or_default());
    let run = Box::pin(client.runs().submit(checked)).await?;
    shell.interruption.follow(run.id(), format!("aignostics run wait {}", run.id()));
    shell.output.note(format!("a run of {application} {version} is submitted"));
    print(&run, &application, &version, &token, true, shell)
}

/// Submits once for a key, and finds the run if that was done before.
async fn once(
    client: &Client,
    draft: Draft,
    options: &RunOptions,
    key: &str,
    arguments: &Arguments,
    shell: &Shell,
) -> Result<(), Failure> {
    let version = arguments.version.application_version.as_ref().map(platform_resources::models::VersionNumber::as_str);
    let stated = &draft.submission;
    let stated = (stated.application_id.clone(), stated.version_number.clone().unwrap_or_default());
    let observer = observer(&shell.output);
    let submission = KeyedSubmission::new(client, key, draft, version, options).await?;
    let found = Box::pin(submission.find(&observer)).await?;
    let submitted = match found {
        Some(found) => found,
        None => Box::pin(submission.submit(&observer)).await?,
    };
    shell.interruption.follow(submitted.run.id(), format!("aignostics run wait {}", submitted.run.id()));
    // The id of a new run is printed without another request, which a signal could end.
    let (application, version) = if submitted.is_new {
        shell.output.note(format!("a run of {} {} is submitted", stated.0, stated.1));
        stated
    } else {
        let Run { application_id, version_number, .. } = submitted.run.get().await?;
        shell.output.note("it was submitted before, and nothing is submitted now");
        ignored(&arguments.options, shell);
        (application_id, version_number.as_str().to_owned())
    };
    print(&submitted.run, &application, &version, &submitted.token, submitted.is_new, shell)
}

/// Reports options that have no effect, because nothing is submitted. Tags are compared.
fn ignored(options: &Options, shell: &Shell) {
    let names: Vec<_> = options.set().into_iter().filter(|name| *name != "--tags").collect();
    if !names.is_empty() {
        shell.output.note(format!("ignored, because nothing is submitted: {}", names.join(", ")));
    }
}

/// The submission without its options.
async fn draft(
    source: SubmissionSource,
    client: &Client,
    arguments: &Arguments,
    shell: &Shell,
) -> Result<Draft, Failure> {
    if let SubmissionSource::Table(table) = &source {
        table.notes().iter().for_each(|note| shell.output.note(note));
    }
    arguments.force.check(client, shell).await?;
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
    shell: &Shell,
) -> Result<(), Failure> {
    let shape = json!({
        "run_id": run.id(), "application_id": application, "version_number": version,
        "submitted": is_new, "submission_token": token,
    });
    shell.output.one(&shape, || shown(run.id()))
}
