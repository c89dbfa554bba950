//! `aignostics run`: runs and their results.

mod cancel;
mod describe;
mod download;
mod events;
mod execute;
mod filters;
mod folder;
mod list;
mod metadata;
mod options;
mod prepare;
mod share;
mod submit;
mod sync;
mod upload;
mod watch;

use std::path::PathBuf;

use anyhow::Context as _;
use auth_core::Secret;
use clap::{Args, Subcommand};
use platform_resources::{Client, RunHandle, Timestamp, TimestampError};
use terminal::arguments::parse_time;
use terminal::input;
use uuid::Uuid;

use crate::context::Context;
use crate::error::CliError;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Find slides in a folder and write the table (CSV) for `run upload` and `run submit`
    Prepare(Box<prepare::Arguments>),
    /// Upload the slides of a table to the organization's bucket; objects that already exist are skipped
    Upload(Box<upload::Arguments>),
    /// Validate a table or a submission without submitting it
    Validate(Box<submit::ValidateArgs>),
    /// Submit a run from a table of slides or from a submission in JSON
    Submit(Box<submit::Arguments>),
    /// Prepare, upload, submit and download in one command; a repeated call resumes and submits nothing twice
    Execute(Box<execute::Arguments>),
    /// Wait for the end of a run and show it. Exit code 6: some items failed; 1: timed out
    Wait(describe::WaitArgs),
    /// Stream the events of a run: one line for each item that ends, and one for the end of the run
    #[command(after_help = watch::HELP)]
    Watch(watch::Arguments),
    /// Download and verify the results of a run; files that already exist are not fetched again
    Download(download::Arguments),
    /// Download the results of all finished runs that are not in a folder yet, those closest to their deletion first
    #[command(after_help = sync::HELP)]
    Sync(Box<sync::Arguments>),
    /// Verify the files of a result folder against its manifest
    #[command(after_help = folder::VERIFY_HELP)]
    Verify(folder::VerifyArgs),
    /// Remove entries from the manifest of a result folder
    #[command(after_help = folder::FORGET_HELP)]
    Forget(folder::ForgetArgs),
    /// List and remove the files that interrupted downloads left in a folder
    #[command(after_help = folder::CLEAN_HELP)]
    Clean(folder::CleanArgs),
    /// List runs, newest first
    List(Box<list::Arguments>),
    /// Show a run, its progress and the outcomes of its items
    Describe(describe::Arguments),
    /// Download or delete the results of a run
    #[command(subcommand)]
    Result(ResultAction),
    /// Cancel a run; a terminated run does not change
    Cancel(cancel::Arguments),
    /// Cancel all active runs that match a filter
    CancelByFilter(cancel::CancelByFilterArgs),
    /// Print the metadata of a run as JSON
    DumpMetadata(metadata::DumpArgs),
    /// Print the metadata of an item as JSON, including a signed URL of its slide
    DumpItemMetadata(metadata::DumpItemArgs),
    /// Replace the metadata of a run
    UpdateMetadata(metadata::UpdateArgs),
    /// Replace the metadata of an item
    UpdateItemMetadata(metadata::UpdateItemArgs),
    /// Share runs and list who can read them
    #[command(subcommand)]
    Share(share::Action),
}

#[derive(Subcommand)]
pub(crate) enum ResultAction {
    /// Wait for the end of a run and download its results into a folder of the run
    Download(Box<download::Arguments>),
    /// Delete the results of a terminated run permanently
    Delete(cancel::DeleteResultsArgs),
}

pub(crate) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    match action {
        Action::Prepare(arguments) => Box::pin(prepare::run(*arguments, context)).await,
        Action::Upload(arguments) => Box::pin(upload::run(*arguments, context)).await,
        Action::Validate(arguments) => Box::pin(submit::validate(*arguments, context)).await,
        Action::Submit(arguments) => Box::pin(submit::run(*arguments, context)).await,
        Action::Execute(arguments) => Box::pin(execute::run(*arguments, context)).await,
        Action::List(arguments) => list::run(*arguments, context).await,
        Action::Describe(arguments) => describe::run(arguments, context).await,
        Action::Wait(arguments) => describe::wait(arguments, context).await,
        Action::Watch(arguments) => Box::pin(watch::run(arguments, context)).await,
        Action::Cancel(arguments) => cancel::run(arguments, context).await,
        Action::CancelByFilter(arguments) => cancel::run_by_filter(arguments, context).await,
        Action::DumpMetadata(arguments) => metadata::dump(arguments, context).await,
        Action::DumpItemMetadata(arguments) => metadata::dump_item(arguments, context).await,
        Action::UpdateMetadata(arguments) => metadata::update(arguments, context).await,
        Action::UpdateItemMetadata(arguments) => metadata::update_item(arguments, context).await,
        Action::Share(action) => share::run(action, context).await,
        Action::Download(arguments) => Box::pin(download::run(arguments, context, false)).await,
        Action::Sync(arguments) => Box::pin(sync::run(*arguments, context)).await,
        Action::Verify(arguments) => folder::verify(arguments, context).await,
        Action::Forget(arguments) => folder::forget(arguments, context).await,
        Action::Clean(arguments) => folder::clean(arguments, context).await,
        Action::Result(ResultAction::Download(arguments)) => Box::pin(download::run(*arguments, context, true)).await,
        Action::Result(ResultAction::Delete(arguments)) => cancel::delete(arguments, context).await,
    }
}

pub(crate) fn parse_run_id(text: &str) -> Result<String, String> {
    match text.parse::<Uuid>() {
        Ok(id) => Ok(id.to_string()),
        Err(_) => Err("invalid run id: expected a UUID, such as those of `aignostics run list`".to_owned()),
    }
}

/// Parses a date and time with a time zone.
fn parse_timestamp(text: &str) -> Result<Timestamp, String> {
    parse_time(text)?.try_into().map_err(|error: TimestampError| error.to_string())
}

/// The arguments that name a run to read, and the share token that gives access to it.
#[derive(Args)]
pub(crate) struct RunArgs {
    /// Id of the run
    #[arg(value_parser = parse_run_id)]
    run: String,
    /// File with the secret of a share token in its first line, or `-` for stdin; `AIGNOSTICS_SHARE_TOKEN` can hold the
    /// secret instead. A login is still required
    #[arg(long, value_name = "FILE")]
    share_token_file: Option<PathBuf>,
}

impl RunArgs {
    /// Returns a handle of the run, which uses the share token if one is given.
    pub(crate) async fn handle(&self, client: &Client) -> Result<RunHandle, CliError> {
        let run = client.run(self.run.as_str());
        let token_text = match &self.share_token_file {
            Some(path) => input::read_text(path).await.map(Some),
            None => Ok(std::env::var("AIGNOSTICS_SHARE_TOKEN").ok()),
        };
        let token_text = token_text.context("cannot read the share token").map_err(CliError::bad_input)?;
        let secret = token_text.as_deref().and_then(|text| text.lines().next()).map(|line| Secret::new(line.trim()));
        Ok(secret.into_iter().fold(run, RunHandle::with_share_token))
    }
}
