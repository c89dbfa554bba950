//! The whole workflow in one command, from a folder of slides to verified results. It can be killed at any point and
//! repeated.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use platform_pipeline::{Error, Study, StudyReport, StudyRun, system_user};
use platform_resources::models::ApplicationId;
use platform_resources::{Client, ResultFolder, RunReport};
use serde_json::{Value, json};
use terminal::Output;

use super::download::LayoutArgs;
use super::events::observer;
use super::options::{HealthCheckArgs, RunOptionArgs, UploadArgs, VersionArgs};
use super::prepare::PrepareArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::progress::RunBars;
use crate::results;
use crate::transfers::AllTransferArgs;
use crate::unknown_application::explain;

/// The options that cause another submission.
const RESUBMISSION_OPTIONS: [&str; 3] = ["--resubmit", "--resubmit-uncertain", "--retry-failed"];

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
    prepare: PrepareArgs,
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
    upload: UploadArgs,
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
    health_check: HealthCheckArgs,
    #[command(flatten)]
    transfer: AllTransferArgs,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    Study::check_results_folder(&arguments.folder, &arguments.csv, arguments.folders.has_folder_per_run())?;
    let target = Study::results_folder(&arguments.csv);
    let client = context.transfer_client(arguments.transfer)?;
    // Opens the folder before anything is uploaded or billed, so that its errors cost nothing.
    let mut results = Some(open_results_folder(&target).await?);
    arguments.health_check.check(&client, context).await?;
    let study = study(&client, &arguments, context).await?;
    let id = ApplicationId::from(arguments.application.as_str());
    let study = match Box::pin(study.submit()).await {
        Ok(study) => study,
        Err(error) => return Err(explain(print_unusable(error, &target, &context.output), &id, &client).await),
    };
    let mut report = StudyReport::of(&study, &target);
    let mut ignored_options = Vec::new();
    match study.submission() {
        Some(submission) if submission.submitted.is_new => {
            let run = submission.submitted.run.id();
            context.output.note(format!("submitted run {run} of {} {}", submission.application, submission.version));
        }
        _ => ignored_options = arguments.options.note_ignored(&context.output, &[]),
    }
    for run in study.runs() {
        let folder = match results.take() {
            Some(folder) => folder,
            None => open_results_folder(&target).await?,
        };
        report.reports.push(Box::pin(fetch(run, folder, &arguments, context)).await?);
    }
    print(&report, &ignored_options, &context.output)
}

/// Prints the slides of the study if unusable ones prevented the submission. Returns the failure in any case.
fn print_unusable(error: Error, target: &Path, output: &Output) -> CliError {
    if error.is_stopped()
        && let Err(error) = output.print_object(&to_json(&StudyReport::of_stopped(&error, target), &[]), String::new)
    {
        return error.into();
    }
    error.into()
}

/// Prints the report, and returns an error if results are missing.
fn print(report: &StudyReport, ignored_options: &[&str], output: &Output) -> Result<(), CliError> {
    output.print_failures(report.reports.iter().flat_map(RunReport::problems));
    let text = |run: &RunReport| results::report_text(run, &report.folder, output);
    let text = || report.reports.iter().map(text).collect::<Vec<_>>().join("\n");
    let print_result = output.print_object(&to_json(report, ignored_options), text);
    report.reports.iter().try_for_each(results::check_outcome)?;
    Ok(print_result?)
}

fn to_json(report: &StudyReport, ignored_options: &[&str]) -> Value {
    let mut value = json!(report);
    value["ignored_options"] = json!(ignored_options);
    value
}

async fn open_results_folder(target: &Path) -> Result<ResultFolder, CliError> {
    let results_folder = ResultFolder::open(target).await;
    Ok(results_folder.context("cannot use the folder of the table for the results")?)
}

async fn study(client: &Client, arguments: &Arguments, context: &Context) -> Result<Study, CliError> {
    let id = ApplicationId::from(arguments.application.as_str());
    let options = arguments.options.run_options(&client.me().await?);
    let observer = observer(&context.output);
    let shows_in_portal = arguments.options.shows_in_portal();
    Ok(Study::new(client, id, &arguments.csv, &arguments.folder, options)
        .with_version(arguments.version.application_version.clone())
        .with_prepare(arguments.prepare.prepare().with_overwrite(arguments.overwrite_table))
        .with_object_keys(system_user(), arguments.upload.upload_prefix.clone(), shows_in_portal)
        .with_resubmit(arguments.resubmit)
        .with_resubmit_uncertain(arguments.resubmit_uncertain)
        .with_retry_failed(arguments.retry_failed)
        .with_skip_unusable(arguments.skip_unusable)
        .with_overwrite_results(arguments.overwrite)
        .with_layout(arguments.folders.layout())
        .with_observer(move |event| observer(event)))
}

/// Downloads the results, by default until the end of the run, like the Python SDK.
async fn fetch(
    run: &StudyRun,
    folder: ResultFolder,
    arguments: &Arguments,
    context: &Context,
) -> Result<RunReport, CliError> {
    let progress = RunBars::of(&context.output);
    // The command that is printed for resuming must not submit the slides again.
    let run_end = context.follow(run.handle().id(), &RESUBMISSION_OPTIONS);
    let download = run.download(folder).with_observer(move |event| {
        run_end.observe(&event);
        progress.show(&event);
    });
    Ok(if arguments.no_wait_for_completion { download.fetch().await? } else { download.follow().await? })
}
