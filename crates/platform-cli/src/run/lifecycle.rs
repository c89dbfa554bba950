//! The commands for existing runs: list, describe, wait, watch, cancel, metadata and sharing.

use clap::Subcommand;

use super::{cancel, cancel_by_filter, describe, list, metadata, share, wait, watch};
use crate::access::Shell;
use crate::exit::Failure;
use crate::retries::Retries;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// List runs, newest first
    #[command(
        after_help = "Examples:\n  aignostics run list --state processing\n  aignostics run list --tags study-1 --limit 10\n  aignostics run list --submitted-by me --format jsonl"
    )]
    List(Box<list::Arguments>),
    /// Show a run, its progress and the outcomes of its items
    Describe(describe::Arguments),
    /// Wait for the end of a run and show it. Exit code 6: some items failed; 1: timed out
    #[command(after_help = "Example: aignostics run wait RUN --timeout 2h")]
    Wait(wait::Arguments),
    /// Stream the events of a run: one line for each item that ends, and one for the end of the run
    #[command(after_help = watch::HELP)]
    Watch(watch::Arguments),
    /// Cancel a run; a terminated run does not change
    Cancel(cancel::Arguments),
    /// Cancel all active runs that match a filter
    #[command(after_help = "Example: aignostics run cancel-by-filter --tags study-1 --dry-run")]
    CancelByFilter(cancel_by_filter::Arguments),
    /// Print the metadata of a run as JSON
    DumpMetadata(metadata::Dump),
    /// Print the metadata of an item as JSON, including a signed URL of its slide
    DumpItemMetadata(metadata::DumpItem),
    /// Replace the metadata of a run
    #[command(
        after_help = "Examples:\n  aignostics run update-metadata RUN '{\"study\": \"a\"}'\n  aignostics run update-metadata RUN @metadata.json"
    )]
    UpdateMetadata(metadata::Update),
    /// Replace the metadata of an item
    UpdateItemMetadata(metadata::UpdateItem),
    /// Share runs and list who can read them
    #[command(subcommand)]
    Share(share::Action),
}

impl Action {
    /// Returns its retry limits.
    pub(super) fn retries(&self) -> Retries {
        match self {
            Self::List(_)
            | Self::Describe(_)
            | Self::DumpMetadata(_)
            | Self::DumpItemMetadata(_)
            | Self::Share(share::Action::Status(_) | share::Action::Audit(_)) => Retries::Reading,
            Self::Wait(_) | Self::Watch(_) => Retries::Transferring,
            Self::Cancel(_)
            | Self::CancelByFilter(_)
            | Self::UpdateMetadata(_)
            | Self::UpdateItemMetadata(_)
            | Self::Share(_) => Retries::Changing,
        }
    }
}

pub(super) async fn run(action: Action, shell: &Shell) -> Result<(), Failure> {
    match action {
        Action::List(arguments) => list::run(*arguments, shell).await,
        Action::Describe(arguments) => describe::run(arguments, shell).await,
        Action::Wait(arguments) => wait::run(arguments, shell).await,
        Action::Watch(arguments) => Box::pin(watch::run(arguments, shell)).await,
        Action::Cancel(arguments) => cancel::run(arguments, shell).await,
        Action::CancelByFilter(arguments) => cancel_by_filter::run(arguments, shell).await,
        Action::DumpMetadata(arguments) => metadata::dump(arguments, shell).await,
        Action::DumpItemMetadata(arguments) => metadata::dump_item(arguments, shell).await,
        Action::UpdateMetadata(arguments) => metadata::update(arguments, shell).await,
        Action::UpdateItemMetadata(arguments) => metadata::update_item(arguments, shell).await,
        Action::Share(action) => share::run(action, shell).await,
    }
}
