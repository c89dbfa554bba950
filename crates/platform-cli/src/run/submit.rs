use std::path::PathBuf;

use clap::Args;
use platform_pipeline::{FileJournal, SubmissionSource};
use platform_resources::models::{ApplicationId, Run, RunSubmission};
use platform_resources::{Client, RunHandle};
use serde_json::json;

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
    /// Submits once for this key: called again with it on this machine, it finds the run of before, and submits nothing.
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
    let key = arguments.once.as_ref().map(|key| format!("once\n{key}"));
    if let Some(key) = &key
        && FileJournal::of(client.settings()).has_intent(key)?
    {
        let run = again(&client, key).await?;
        shell.output.note("it was submitted before, and nothing is submitted now");
        let Run { application_id, version_number, .. } = run.get().await?;
        return print(&run, &application_id, version_number.as_str(), shell);
    }
    let checked = Box::pin(check(source, &client, &arguments, shell)).await?;
    if arguments.dry_run {
        return validate::print(&checked, shell);
    }
    let (application, version) = (checked.application_id.clone(), checked.version_number.clone().unwrap_or_default());
    let run = match &key {
        Some(key) => once(&client, checked, key).await?,
        None => Box::pin(client.runs().submit(checked)).await?,
    };
    shell.interruption.follow(run.id(), format!("aignostics run wait {}", run.id()));
    shell.output.note(format!("a run of {application} {version} is submitted"));
    print(&run, &application, &version, shell)
}

/// The submission, after all that can be wrong with it was looked for.
async fn check(
    source: SubmissionSource,
    client: &Client,
    arguments: &Arguments,
    shell: &Shell,
) -> Result<RunSubmission, Failure> {
    arguments.force.check(client, shell).await?;
    let application = arguments.version.of(client, &arguments.application).await?;
    let keys = UploadArgs::default().keys(client, &application, arguments.options.portal()).await?;
    let mut draft = source.draft(&arguments.file, &application, &keys, false)?;
    arguments.options.run_options(&client.me().await?).apply(&mut draft.submission)?;
    Ok(draft.check(client).await?)
}

fn print(run: &RunHandle, application: &ApplicationId, version: &str, shell: &Shell) -> Result<(), Failure> {
    let shape = json!({ "run_id": run.id(), "application_id": application, "version_number": version });
    shell.output.one(&shape, || shown(run.id()))
}

/// Submits once for a key, and finds the run if that was done before.
async fn once(client: &Client, submission: RunSubmission, key: &str) -> Result<RunHandle, Failure> {
    let journal = FileJournal::of(client.settings());
    let _lock = journal.lock(key)?;
    Ok(Box::pin(client.runs().submit_once(key, submission, &journal).submit()).await?)
}

/// Finds the run that was submitted for a key, or may have been. Nothing is submitted: without items nothing can be.
async fn again(client: &Client, key: &str) -> Result<RunHandle, Failure> {
    once(client, RunSubmission::new("", Vec::new()), key).await
}
