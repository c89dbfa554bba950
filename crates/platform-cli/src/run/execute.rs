//! The whole workflow in one command, from a folder of slides to verified results. It can be killed at any point and
//! repeated.

mod report;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use platform_pipeline::{Study, StudyRun};
use platform_resources::models::ApplicationId;
use platform_resources::{Client, ResultFolder, RunReport};

use super::application_args::{HealthCheckArgs, VersionArgs};
use super::download::LayoutArgs;
use super::events::observer;
use super::object_keys::UploadArgs;
use super::options::RunOptionArgs;
use super::prepare::PrepareArgs;
use crate::context::{Context, bucket_user};
use crate::error::CliError;
use crate::progress::ProgressBars;
use crate::transfers::{DigestArgs, TransferArgs, Transfers, UploadTimeoutArgs};
use crate::unknown_application::explain;
use report::Report;

/// The options that cause another submission.
const AGAIN: [&str; 3] = ["--resubmit", "--resubmit-uncertain", "--retry-failed"];

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Arguments {
    /// Id of the application
    #[arg(value_name = "APPLICATION")]
    application: String,
    /// Table of the slides, created or updated; the results go into its folder
    #[arg(value_name = "CSV")]
    csv: PathBuf,
    /// Folder with the slides, including its subfolders
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    version: VersionArgs,
    #[command(flatten)]
    how: PrepareArgs,
    /// Replace the table
    #[arg(long)]
    overwrite_table: bool,
    /// Replace result files of an earlier run of the same slide
    #[arg(long)]
    overwrite: bool,
    /// Submit the other slides if some files cannot be used.
    #[arg(long)]
    skip_unusable: bool,
    #[command(flatten)]
    to: UploadArgs,
    #[command(flatten)]
    folders: LayoutArgs,
    /// Wait for the end of the run and download results as they become available (default)
    #[arg(long, alias = "follow", overrides_with = "no_wait_for_completion")]
    wait_for_completion: bool,
    /// Download only results that are available now; a later call downloads the rest
    #[arg(long, alias = "no-follow", overrides_with = "wait_for_completion")]
    no_wait_for_completion: bool,
    /// Submit slides again whose latest run failed or skipped them; they are billed again
    #[arg(long)]
    retry_failed: bool,
    /// Submit all slides again; they are billed again.
    #[arg(long)]
    resubmit: bool,
    /// Submit slides again whose earlier submission is uncertain; they are billed twice if it was accepted.
    #[arg(long, conflicts_with = "resubmit")]
    resubmit_uncertain: bool,
    #[command(flatten)]
    options: RunOptionArgs,
    #[command(flatten)]
    force: HealthCheckArgs,
    #[command(flatten)]
    transfer: TransferArgs,
    #[command(flatten)]
    digest: DigestArgs,
    #[command(flatten)]
    timeout: UploadTimeoutArgs,
}

impl Arguments {
    pub(super) fn transfers(&self) -> Transfers {
        Transfers::from(self.transfer).with_digest(self.digest).with_timeout(self.timeout)
    }
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let target = folder_of(&arguments.csv);
    check_folders(&arguments, &target)?;
    let client = context.client()?;
    // Errors of the folder occur before anything is uploaded or billed.
    let mut results = Some(open(&target).await?);
    arguments.force.check(&client, context).await?;
    let study = study(&client, &arguments, context).await?;
    let mut report = Report::new(&target);
    let id = ApplicationId::from(arguments.application.as_str());
    let study = match Box::pin(study.submit()).await {
        Ok(study) => study,
        Err(error) => return Err(explain(report.stopped(error, &context.output), &id, &client).await),
    };
    report.study(&study);
    match study.submission() {
        Some(submission) if submission.submitted.is_new => {
            let run = submission.submitted.run.id();
            context.output.note(format!("submitted run {run} of {} {}", submission.application, submission.version));
        }
        _ => report.ignored(&arguments.options.set(), &context.output),
    }
    for run in study.runs() {
        let folder = match results.take() {
            Some(folder) => folder,
            None => open(&target).await?,
        };
        report.add(Box::pin(fetch(run, folder, &arguments, context)).await?);
    }
    report.print(&context.output)
}

async fn open(target: &Path) -> Result<ResultFolder, CliError> {
    let opened = ResultFolder::open(target).await;
    Ok(opened.context("cannot use the folder of the table for the results")?)
}

async fn study(client: &Client, arguments: &Arguments, context: &Context) -> Result<Study, CliError> {
    let id = ApplicationId::from(arguments.application.as_str());
    let options = arguments.options.run_options(&client.me().await?);
    let observer = observer(&context.output);
    let portal = arguments.options.portal();
    Ok(Study::new(client, id, &arguments.csv, &arguments.folder, options)
        .with_version(arguments.version.application_version.clone())
        .with_prepare(arguments.how.prepare().with_overwrite(arguments.overwrite_table))
        .with_object_keys(bucket_user(), arguments.to.upload_prefix.clone(), portal)
        .with_resubmit(arguments.resubmit)
        .with_resubmit_uncertain(arguments.resubmit_uncertain)
        .with_retry_failed(arguments.retry_failed)
        .with_skip_unusable(arguments.skip_unusable)
        .with_overwrite_results(arguments.overwrite)
        .with_layout(arguments.folders.layout())
        .with_observer(move |event| observer(event)))
}

/// Checks that results next to the slides are in folders per run, to distinguish them from slides.
fn check_folders(arguments: &Arguments, target: &Path) -> Result<(), CliError> {
    let unreadable = || format!("cannot read '{}'", arguments.folder.display());
    let slides = arguments.folder.canonicalize().with_context(unreadable).map_err(CliError::bad_input)?;
    let is_among = target.canonicalize().is_ok_and(|target| target.starts_with(&slides));
    if is_among && !arguments.folders.has_folder_per_run() {
        let text = "the results would be stored among the slides and could be mistaken for slides: \
                    move the table, or omit --no-create-subdirectory-for-run";
        return Err(CliError::bad_input(anyhow::anyhow!(text)));
    }
    Ok(())
}

/// Downloads the results, by the custom of the Python tool: to the end.
async fn fetch(
    run: &StudyRun,
    folder: ResultFolder,
    arguments: &Arguments,
    context: &Context,
) -> Result<RunReport, CliError> {
    let progress = ProgressBars::new(&context.output).follow();
    // Repeating these options would cause more costs.
    let followed = context.follow(run.handle().id(), &AGAIN);
    let download = run.download(folder).with_observer(move |event| {
        followed.learn(&event);
        progress.show(&event);
    });
    Ok(if arguments.no_wait_for_completion { download.fetch().await? } else { download.follow().await? })
}

/// Returns the folder of a file.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        Some(_) => PathBuf::from("."),
        None => path.to_owned(),
    }
}
